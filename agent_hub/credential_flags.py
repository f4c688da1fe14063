"""The command lines of `agent-hub token` and `agent-hub secret`; what they do loads more."""

from __future__ import annotations

import argparse
import re
from typing import Any

from agent_hub.core.principal import Scope

COMMANDS = ("token", "secret")
KEY_VARIABLE = "AGENT_HUB_SECRET_KEY"

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_SPAN = re.compile(r"(\d{1,6})([smhdw])")


def add_to(commands: Any) -> None:
    """Add `token` and `secret` to the commands of a parser."""
    _add_token(commands)
    secret = commands.add_parser(
        "secret",
        help="encrypt a secret for a settings file",
        description="Secrets that may lie in a settings file, and the key that opens them.",
        allow_abbrev=False,
    )
    actions = secret.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    actions.add_parser("key", help="make a key", allow_abbrev=False)
    actions.add_parser(
        "encrypt",
        help=f"encrypt what stdin says, with the key in {KEY_VARIABLE}",
        allow_abbrev=False,
    )


def _add_token(commands: Any) -> None:
    token = commands.add_parser(
        "token",
        help="make, list and revoke the tokens of agents",
        description="The hub's own tokens. A running hub heeds every change within a second.",
        allow_abbrev=False,
    )
    backend = argparse.ArgumentParser(add_help=False)
    backend.add_argument("--backend", help="the hub's own, if it was started with one")
    actions = token.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    _add_create(
        actions.add_parser(
            "create",
            help="make a token; stdout is the token alone",
            parents=[backend],
            allow_abbrev=False,
        )
    )
    actions.add_parser("list", help="list the tokens", parents=[backend], allow_abbrev=False)
    revoke = actions.add_parser(
        "revoke", help="end a token at once", parents=[backend], allow_abbrev=False
    )
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("token", nargs="?", help="its id, as `token list` shows it")
    which.add_argument("--jti", help="the `jti` of a JWT instead")


def _add_create(create: Any) -> None:
    create.add_argument(
        "--agent",
        action="append",
        default=[],
        help="an id that it may act as, or the beginning of ids with * behind it; repeat for more",
    )
    create.add_argument("--name", help="who it belongs to (default: the first agent)")
    create.add_argument(
        "--scope",
        action="append",
        default=[],
        choices=[scope.value for scope in Scope],  # as they are shown in a refusal
        metavar="SCOPE",
        help=f"one of {', '.join(Scope)}; repeat for more (default: all but admin)",
    )
    create.add_argument(
        "--expires", type=_span, metavar="SPAN", help="90d, 12h, 30m …  (default: never)"
    )


def _span(text: str) -> float:
    """Seconds."""
    shape = _SPAN.fullmatch(text)
    if shape is None or int(shape.group(1)) == 0:
        raise argparse.ArgumentTypeError("write a number and one of s, m, h, d, w, as in 90d")
    return float(int(shape.group(1)) * SECONDS[shape.group(2)])

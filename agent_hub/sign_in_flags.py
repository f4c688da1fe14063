"""The command lines of `agent-hub login-code`, `session` and `key`; what they do loads more."""

from __future__ import annotations

import argparse
from typing import Any

from agent_hub.core.principal import ORDINARY

COMMANDS = ("login-code", "session", "key")


def add_to(commands: Any) -> None:
    """Add these commands to a parser's."""
    backend = argparse.ArgumentParser(add_help=False)
    backend.add_argument("--backend", help="the hub's own, if it was started with one")
    _add_login_code(commands, backend)
    session = commands.add_parser(
        "session",
        help="list and end the sign-ins of people",
        description="Sessions of people who signed in. A running hub heeds every change within"
        " five seconds.",
        allow_abbrev=False,
    )
    actions = session.add_subparsers(
        title="actions", metavar="ACTION", dest="action", required=True
    )
    actions.add_parser("list", help="list them", parents=[backend], allow_abbrev=False)
    end = actions.add_parser(
        "end", help="end one, with all its tokens", parents=[backend], allow_abbrev=False
    )
    which = end.add_mutually_exclusive_group(required=True)
    which.add_argument("session", nargs="?", help="its id, as `session list` shows it")
    which.add_argument("--all", action="store_true", help="every one there is")
    key = commands.add_parser(
        "key",
        help="change the key that signs the tokens of people who signed in",
        description="The keys that sign what the hub gives out to people who sign in.",
        allow_abbrev=False,
    )
    actions = key.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    actions.add_parser(
        "rotate",
        help="sign with a new key; the old one is good for another day",
        parents=[backend],
        allow_abbrev=False,
    )


def _add_login_code(commands: Any, backend: argparse.ArgumentParser) -> None:
    code = commands.add_parser(
        "login-code",
        help="let a person sign in: make a code for the page that asks for one",
        description="A code for the hub's sign-in page, good for ten minutes, once.",
        parents=[backend],
        allow_abbrev=False,
    )
    code.add_argument(
        "--name", help="who the person is; all codes of one name are one person (default: owner)"
    )
    code.add_argument(
        "--agent",
        action="append",
        default=[],
        help="an id as which they may sign in, or the beginning of ids with * behind it; repeat"
        " for more (default: any)",
    )
    code.add_argument(
        "--scope",
        action="append",
        default=[],
        choices=sorted(scope.value for scope in ORDINARY),
        metavar="SCOPE",
        help=f"one of {', '.join(sorted(ORDINARY))}; repeat for more (default: all of these)",
    )

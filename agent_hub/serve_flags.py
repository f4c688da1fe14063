"""The command lines of `agent-hub serve` and `agent-hub config`: every setting is a flag."""

from __future__ import annotations

import argparse
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from agent_hub.config import Settings, flag_name

EPILOG = (
    "Each flag is also a variable, in the environment or in .env: --message-ttl is"
    " AGENT_HUB_MESSAGE_TTL. A flag wins over the environment, the environment over .env."
)


def add_to(commands: Any, serving: argparse.ArgumentParser) -> None:
    """Add `serve` and `config`, with the flags of `serving`, to the commands of a parser."""
    commands.add_parser(
        "serve",
        help="run the hub (the default command)",
        description="Run the hub until SIGTERM or Ctrl-C.",
        epilog=EPILOG,
        parents=[serving],
        allow_abbrev=False,
    )
    config = commands.add_parser(
        "config",
        help="print the settings and where each comes from, secrets hidden",
        description="Print the settings with which a hub would start here, secrets hidden.",
        epilog=EPILOG,
        parents=[serving],
        allow_abbrev=False,
    )
    form = config.add_mutually_exclusive_group()
    form.add_argument(
        "--json",
        dest="form",
        action="store_const",
        const="json",
        default="text",
        help="as a JSON object, by name",
    )
    form.add_argument(
        "--markdown",
        dest="form",
        action="store_const",
        const="markdown",
        help="the table of all settings there are",
    )


def settings() -> argparse.ArgumentParser:
    """The flags, straight from the settings: a flag without its variable cannot exist."""
    # An absent flag leaves no trace, so that the environment can have its say.
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("settings")
    for name, field in Settings.model_fields.items():
        group.add_argument(flag_name(name), dest=name, help=_help(field), **_kind(name, field))
    return parser


def _help(field: FieldInfo) -> str:
    default = field.default
    if default in ((), False, ""):
        return f"{field.description}"
    if isinstance(default, tuple):
        default = ",".join(default)
    shown = f"{default:g}" if isinstance(default, float) else default
    return f"{field.description} (default: {shown})"


def _kind(name: str, field: FieldInfo) -> dict[str, Any]:
    # Values stay strings here: one place judges them, whichever way they came.
    if field.annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(field.annotation) is tuple:
        return {"action": "append", "metavar": name.rpartition("_")[2].upper()}
    if get_origin(field.annotation) is Literal:
        return {"metavar": "|".join(get_args(field.annotation))}
    return {"metavar": name.rpartition("_")[2].upper()}

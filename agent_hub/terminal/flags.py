"""The command lines of the terminal client; what they do loads more."""

from __future__ import annotations

import argparse
import os
from typing import Any

COMMANDS = ("listen", "send", "ask", "receive", "agents")
DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "AGENT_HUB_URL"

_EPILOG = "To a hub that asks for a credential AGENT_HUB_TOKEN is shown."


def hub_url() -> str:
    """The hub that is meant where no --url is given."""
    return (os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")


def add_to(commands: Any) -> None:
    """Add these commands to those of a parser."""
    hub = argparse.ArgumentParser(add_help=False)
    hub.add_argument(
        "--url", default=hub_url(), help=f"the hub ({URL_VARIABLE}; default: %(default)s)"
    )
    hub.add_argument("--json", action="store_true", help="print JSON, one object on a line")
    _add_listen(commands, hub)
    _add_send(commands, hub)
    _add_ask(commands, hub)
    _add_receive(commands, hub)
    _add(commands, hub, "agents", "print who is here", "Print the registered agents.")


def _add(commands: Any, hub: Any, name: str, short: str, long: str) -> Any:
    return commands.add_parser(
        name, help=short, description=long, epilog=_EPILOG, parents=[hub], allow_abbrev=False
    )


def _add_listen(commands: Any, hub: Any) -> None:
    command = _add(
        commands,
        hub,
        "listen",
        "print an agent's messages as they come",
        "Print an agent's messages as they come, each acknowledged once it is written, until"
        " SIGTERM, Ctrl-C, or the end of whoever reads.",
    )
    command.add_argument("agent", metavar="AGENT", help="whose messages")


def _add_receive(commands: Any, hub: Any) -> None:
    command = _add(
        commands,
        hub,
        "receive",
        "take an agent's waiting messages",
        "Print the messages that wait for an agent, each acknowledged once it is written.",
    )
    command.add_argument("agent", metavar="AGENT", help="whose messages")
    command.add_argument(
        "--wait",
        type=int,
        default=0,
        metavar="SECONDS",
        help="if there are none, for so long, up to 50 (default: %(default)s)",
    )
    command.add_argument(
        "--limit", type=int, default=50, help="at most so many, up to 200 (default: %(default)s)"
    )


def _add_send(commands: Any, hub: Any) -> None:
    command = _add(
        commands,
        hub,
        "send",
        "send a message, and print its id",
        "Send a message, and print its id.",
    )
    _add_draft(command, "an agent's id, or ALL")


def _add_ask(commands: Any, hub: Any) -> None:
    command = _add(
        commands,
        hub,
        "ask",
        "send a question, wait for the reply, and print it",
        "Send a question, wait for the reply, and print it. Exit code 3: no reply yet; 4: the"
        " agent asks back first, and its question is printed.",
    )
    _add_draft(command, "an agent's id")
    command.add_argument(
        "--timeout",
        type=int,
        default=60,
        metavar="SECONDS",
        help="how long to wait, 1 to 300 (default: %(default)s)",
    )


def _add_draft(command: Any, recipient: str) -> None:
    command.add_argument("to", metavar="TO", help=recipient)
    command.add_argument("text", metavar="TEXT", help="what to say; - reads it from stdin")
    command.add_argument(
        "--payload", action="store_true", help="TEXT is a JSON object: the payload, not the text"
    )
    command.add_argument(
        "--from", dest="sender", metavar="ID", required=True, help="the agent that sends"
    )
    command.add_argument("--type", help="what kind of message (default: message)")
    command.add_argument("--reply-to", metavar="MESSAGE", help="the id of what this answers")
    command.add_argument(
        "--ttl", type=float, metavar="SECONDS", help="when it expires (default: the hub's)"
    )
    command.add_argument(
        "--key", help="the same message with the same key is sent once, however often it is tried"
    )

"""The command lines of the terminal client; what they do loads more."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

COMMANDS = ("listen", "send", "ask", "receive", "work", "agents")
DEFAULT_URL = "http://127.0.0.1:8080"
URL_VARIABLE = "AGENT_HUB_URL"
# What a hub takes; it would refuse more, but by other names.
MAX_WAIT_SECONDS = 50
MAX_LIMIT = 200
MAX_TIMEOUT_SECONDS = 300
MAX_JOBS = 64
"""As many as the client takes ahead."""

_EPILOG = "To a hub that asks for a credential AGENT_HUB_TOKEN is shown."


def hub_url() -> str:
    """The hub that is meant where no --url is given."""
    return (os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")


def web_address(text: str) -> str:
    """Whatever can be one: without a scheme it could be read in two ways."""
    try:
        parts = urlsplit(text)
        has_host = bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # its port, its brackets, or a name that no host can have
        has_host = False
    if not (has_host and text.startswith(("http://", "https://"))):
        raise argparse.ArgumentTypeError(
            f"this, or {URL_VARIABLE}, must be an address like http://localhost:8080, not {text!r}"
        )
    return text


def add_to(commands: Any) -> None:
    """Add these commands to those of a parser."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--url",
        type=web_address,
        default=hub_url(),
        help=f"the hub ({URL_VARIABLE}; default: %(default)s)",
    )
    hub = argparse.ArgumentParser(add_help=False, parents=[where])
    hub.add_argument("--json", action="store_true", help="print JSON, one object on a line")
    _add_listen(commands, hub)
    _add_send(commands, hub)
    _add_ask(commands, hub)
    _add_receive(commands, hub)
    _add_work(commands, where)
    _add(commands, hub, "agents", "print who is here", "Print the registered agents.")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    """What the command line says. What stands behind the first `--` of `work` is its `program`.

    That is not argparse's to split: in Python 3.11 it takes a second `--` out, too.
    """
    if arguments[0] != "work" or "--" not in arguments:
        return vars(parser.parse_args(arguments))
    end = arguments.index("--")
    flags = vars(parser.parse_args(arguments[:end]))
    return {**flags, "program": arguments[end + 1 :]}


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
        type=_from_to(0, MAX_WAIT_SECONDS),
        default=0,
        metavar="SECONDS",
        help=f"if there are none, for so long, up to {MAX_WAIT_SECONDS} (default: %(default)s)",
    )
    command.add_argument(
        "--limit",
        type=_from_to(1, MAX_LIMIT),
        default=50,
        help=f"at most so many, up to {MAX_LIMIT} (default: %(default)s)",
    )


def _add_work(commands: Any, where: Any) -> None:
    command = _add(
        commands,
        where,
        "work",
        "run a program for each message, its output the reply",
        "For each message to an agent run COMMAND, with the message's text (or else its payload, as"
        " JSON) on its standard input and MESSAGE_ID, MESSAGE_FROM, MESSAGE_TYPE and"
        " MESSAGE_REPLY_TO in its environment. When it ends with 0, what it wrote is sent to the"
        " sender as the reply, and the message acknowledged; otherwise the message is given back,"
        " of which five times are allowed. A response, ack or heartbeat is never replied to. Until"
        " SIGTERM or Ctrl-C; what runs has 10 seconds then.",
    )
    command.usage = "%(prog)s [options] AGENT -- COMMAND [ARG ...]"
    command.add_argument("agent", metavar="AGENT", help="whose messages")
    command.add_argument(
        "--json", action="store_true", help="hand COMMAND the whole message, as a line of JSON"
    )
    command.add_argument(
        "--no-reply",
        dest="replies",
        action="store_false",
        help="send nothing; what COMMAND writes is written here",
    )
    command.add_argument(
        "--jobs",
        type=_from_to(1, MAX_JOBS),
        default=1,
        metavar="N",
        help=f"so many messages at once, 1 to {MAX_JOBS} (default: %(default)s)",
    )
    command.set_defaults(program=[])


def _from_to(least: int, most: int) -> Callable[[str], int]:
    """What reads such a number."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{least} to {most}, not {text}")
        return int(text)

    return number


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
        type=_from_to(1, MAX_TIMEOUT_SECONDS),
        default=60,
        metavar="SECONDS",
        help=f"how long to wait, 1 to {MAX_TIMEOUT_SECONDS} (default: %(default)s)",
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
        "--ttl", type=_seconds, metavar="SECONDS", help="when it expires (default: the hub's)"
    )
    command.add_argument(
        "--key", help="the same message with the same key is sent once, however often it is tried"
    )


def _seconds(text: str) -> float:
    """A number that JSON has."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise argparse.ArgumentTypeError(f"a number of seconds, not {text}")
    return seconds

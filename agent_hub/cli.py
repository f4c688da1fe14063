"""The command line: `agent-hub`, `python -m agent_hub` and `python server.py` are this.

Each command imports what it does when it is called, so that none waits for what another needs.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from agent_hub import __version__, credential_flags, sign_in_flags
from agent_hub.console import FAILED, PROGRAM, USAGE_ERROR
from agent_hub.terminal import flags as terminal_flags

OF_NO_COMMAND = ("-h", "--help", "--version")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage before it: the fault must not drown."""
        self.exit(USAGE_ERROR, f"{PROGRAM}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    _hold_standard_streams()
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        if sys.stdout is not None:  # as it is when the caller has closed it
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has what they wanted, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _hold_standard_streams() -> None:
    """Let nothing that is opened later have the number of a stream that the caller has closed.

    What prints to a stream would write into it, and libuv aborts the process when it closes one.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(number, True)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in terminal_flags.COMMANDS:
        return terminal(arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in OF_NO_COMMAND):
        arguments.insert(0, "serve")  # the command that may be left out
    flags = vars(_parser().parse_args(arguments))
    if flags["command"] in credential_flags.COMMANDS:
        from agent_hub.credential_commands import run

        return run(flags)
    if flags["command"] in sign_in_flags.COMMANDS:
        from agent_hub.sign_in_commands import run as run_sign_in

        return run_sign_in(flags)
    if flags["command"] == "stdio":
        return stdio(flags["url"])
    from agent_hub.serve_commands import run as run_serve

    return run_serve(flags)


def terminal(arguments: Sequence[str]) -> int:
    """Talk through a hub that runs; without the settings of one, which take as long to load."""
    parser = _Parser(prog=PROGRAM, allow_abbrev=False)
    terminal_flags.add_to(parser.add_subparsers(dest="command"))
    flags = terminal_flags.parse(parser, arguments)
    from agent_hub.terminal.commands import run

    return run(flags)


def stdio(url: str) -> int:
    """Speak MCP on stdin and stdout for the hub at `url`, until stdin ends."""
    import asyncio

    from agent_hub import logs
    from mcp_bridge.stdio import serve as bridge

    logs.configure("warning")  # on stderr: stdout is the client's
    asyncio.run(bridge(url, __version__, os.environ.get("AGENT_HUB_TOKEN") or None))
    return 0


def _parser() -> argparse.ArgumentParser:
    from agent_hub import serve_flags

    serving = serve_flags.settings()
    parser = _Parser(
        prog=PROGRAM,
        description="The message hub for AI agents that you run yourself.",
        epilog=serve_flags.EPILOG,
        parents=[serving],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    serve_flags.add_to(commands, serving)
    terminal_flags.add_to(commands)
    bridge = commands.add_parser(
        "stdio",
        help="connect an MCP client that speaks only stdio to a running hub",
        description="Speak MCP on stdin and stdout, and pass it on to a running hub. To one that"
        " asks for a credential AGENT_HUB_TOKEN is shown.",
        allow_abbrev=False,
    )
    bridge.add_argument(
        "--url",
        type=terminal_flags.web_address,
        default=f"{terminal_flags.hub_url()}/mcp",
        help="the hub's MCP address (default: %(default)s)",
    )
    credential_flags.add_to(commands)
    sign_in_flags.add_to(commands)
    return parser

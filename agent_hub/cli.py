"""The command line: `agent-hub`, `python -m agent_hub` and `python server.py` are this."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn, get_args, get_origin

from pydantic.fields import FieldInfo

from agent_hub import __version__, credential_flags, logs, settings_shown, sign_in_flags
from agent_hub.config import Settings, SettingsError, flag_name, load
from agent_hub.queue_backends.lock import FileLock, in_use
from agent_hub.workers import Supervisor, Worker

log = logging.getLogger(__name__)

PROGRAM = "agent-hub"
USAGE_ERROR = 2
MCP_URL = "http://127.0.0.1:8080/mcp"
# Whatever else comes first belongs to `serve`, the command that may be left out.
TOP_LEVEL = (
    "serve",
    "stdio",
    "config",
    *credential_flags.COMMANDS,
    *sign_in_flags.COMMANDS,
    "-h",
    "--help",
    "--version",
)
EPILOG = (
    "Each flag is also a variable, in the environment or in .env: --message-ttl is"
    " AGENT_HUB_MESSAGE_TTL. A flag wins over the environment, the environment over .env."
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, without the usage before it: the fault must not drown."""
        self.exit(USAGE_ERROR, f"{PROGRAM}: {message} (see {PROGRAM} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] not in TOP_LEVEL:
        arguments.insert(0, "serve")
    flags = vars(_parser().parse_args(arguments))
    if flags["command"] in credential_flags.COMMANDS:
        from agent_hub.credential_commands import run

        return run(flags)
    if flags["command"] in sign_in_flags.COMMANDS:
        from agent_hub.sign_in_commands import run as run_sign_in

        return run_sign_in(flags)
    command = flags.pop("command")
    if command == "stdio":
        return stdio(flags["url"])
    if command == "config":
        return config(flags.pop("form"), flags)
    return serve(flags)


def serve(flags: dict[str, Any]) -> int:
    """Run the hub until it is told to stop."""
    settings = _settings(flags)
    if settings is None:
        return USAGE_ERROR
    _warn_of_open_doors(settings)
    if settings.sqlite_path is not None and FileLock(settings.sqlite_path).is_held_elsewhere:
        log.critical("cannot start: %s", in_use(settings.sqlite_path))
        return 1
    if settings.workers > 1:
        return Supervisor(settings.workers, settings.host, settings.port, work, flags).run()
    # Late, so that --help, --version and what cannot start answer at once.
    from agent_hub.app import run

    return run(settings, on_reload=_reader(settings, flags))


def work(flags: dict[str, Any], worker: Worker) -> int:
    """Run the hub as one of several processes, each of which reads the settings for itself."""
    settings = _settings(flags)
    if settings is None:  # `.env` is not what it was
        return USAGE_ERROR
    from agent_hub.app import run

    return run(settings, worker, on_reload=_reader(settings, flags))


def _settings(flags: dict[str, Any]) -> Settings | None:
    """The settings, with the logs as they say; None, and one line on stderr, if they are wrong."""
    try:
        settings = load(flags)
    except SettingsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return None
    logs.configure(settings.log_level)
    return settings


def _reader(settings: Settings, flags: dict[str, Any]) -> Callable[[], None]:
    """What reads the settings again, and applies what can change while the hub runs."""

    def read_again() -> None:
        try:
            now = load(flags)
        except SettingsError as error:
            log.error("the settings stay as they were: %s", error)
            return
        logs.change_level(now.log_level)
        for name, value in now:
            if name != "log_level" and value != getattr(settings, name):
                log.warning("%s has changed: only a restart applies it", name)

    return read_again


def config(form: str, flags: dict[str, Any]) -> int:
    """Print the settings with which a hub would start here, and where each comes from."""
    if form == "markdown":
        print(settings_shown.as_markdown())
        return 0
    try:
        settings = settings_shown.shown(load(flags), flags)
    except SettingsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return USAGE_ERROR
    print(settings_shown.as_json(settings) if form == "json" else settings_shown.as_text(settings))
    return 0


def stdio(url: str) -> int:
    """Speak MCP on stdin and stdout for the hub at `url`, until stdin ends."""
    import asyncio

    from mcp_bridge.stdio import serve as bridge

    logs.configure("warning")  # on stderr: stdout is the client's
    asyncio.run(bridge(url, __version__, os.environ.get("AGENT_HUB_TOKEN") or None))
    return 0


def _warn_of_open_doors(settings: Settings) -> None:
    if settings.insecure and not settings.auth:
        # Critical, so that no --log-level hides it.
        log.critical(
            "INSECURE: no authentication; whoever can reach %s port %d can read and send as any"
            " agent",
            settings.host,
            settings.port,
        )
    elif not (settings.is_loopback or settings.tls_cert or settings.trusted_proxy):
        log.warning(
            "credentials and messages travel in the clear: use --tls-cert and --tls-key, or a"
            " proxy that does it, named by --trusted-proxy"
        )


def _parser() -> argparse.ArgumentParser:
    serving = _serve_flags()
    parser = _Parser(
        prog=PROGRAM,
        description="The message hub for AI agents that you run yourself.",
        epilog=EPILOG,
        parents=[serving],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="", dest="command")
    commands.add_parser(
        "serve",
        help="run the hub (the default command)",
        description="Run the hub until SIGTERM or Ctrl-C.",
        epilog=EPILOG,
        parents=[serving],
        allow_abbrev=False,
    )
    settings = commands.add_parser(
        "config",
        help="print the settings and where each comes from, secrets hidden",
        description="Print the settings with which a hub would start here, secrets hidden.",
        epilog=EPILOG,
        parents=[serving],
        allow_abbrev=False,
    )
    form = settings.add_mutually_exclusive_group()
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
    bridge = commands.add_parser(
        "stdio",
        help="connect an MCP client that speaks only stdio to a running hub",
        description="Speak MCP on stdin and stdout, and pass it on to a running hub. To one that"
        " asks for a credential AGENT_HUB_TOKEN is shown.",
        allow_abbrev=False,
    )
    bridge.add_argument(
        "--url", default=MCP_URL, help="the hub's MCP address (default: %(default)s)"
    )
    credential_flags.add_to(commands)
    sign_in_flags.add_to(commands)
    return parser


def _serve_flags() -> _Parser:
    """The flags, straight from the settings: a flag without its variable cannot exist."""
    # An absent flag leaves no trace, so that the environment can have its say.
    parser = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
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

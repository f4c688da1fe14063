"""`agent-hub serve` and `agent-hub config`: the hub itself, and the settings it would have."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from agent_hub import logs, settings_shown
from agent_hub.config import Settings, SettingsError, load
from agent_hub.console import USAGE_ERROR, say
from agent_hub.queue_backends.lock import FileLock, in_use
from agent_hub.workers import Supervisor, Worker

log = logging.getLogger(__name__)

Flags = dict[str, Any]


def run(flags: Flags) -> int:
    """Do what the command line says; the exit code."""
    if flags.pop("command") == "config":
        return config(flags.pop("form"), flags)
    return serve(flags)


def serve(flags: Flags) -> int:
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
    from agent_hub.serving import run

    return run(settings, on_reload=_reader(settings, flags))


def work(flags: Flags, worker: Worker) -> int:
    """Run the hub as one of several processes, each of which reads the settings for itself."""
    settings = _settings(flags)
    if settings is None:  # `.env` is not what it was
        return USAGE_ERROR
    from agent_hub.serving import run

    return run(settings, worker, on_reload=_reader(settings, flags))


def _settings(flags: Flags) -> Settings | None:
    """The settings, with the logs as they say; None, and one line on stderr, if they are wrong."""
    try:
        settings = load(flags)
    except SettingsError as error:
        say(str(error), USAGE_ERROR)
        return None
    logs.configure(settings.log_level)
    return settings


def _reader(settings: Settings, flags: Flags) -> Callable[[], None]:
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


def config(form: str, flags: Flags) -> int:
    """Print the settings with which a hub would start here, and where each comes from."""
    if form == "markdown":
        print(settings_shown.as_markdown())
        return 0
    try:
        settings = settings_shown.shown(load(flags), flags)
    except SettingsError as error:
        return say(str(error), USAGE_ERROR)
    print(settings_shown.as_json(settings) if form == "json" else settings_shown.as_text(settings))
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

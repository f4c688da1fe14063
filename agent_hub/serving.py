"""A process that serves the hub: its event loop, its port, its end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aiohttp import web

from agent_hub import __version__
from agent_hub.app import GATE, ON_RELOAD, create_app
from agent_hub.config import Settings, SettingsError
from agent_hub.core.errors import BackendUnavailable
from agent_hub.port import cannot_listen
from agent_hub.prometheus import Share
from agent_hub.signals import Signals
from agent_hub.tls import NoCertificate, Tls
from agent_hub.web.connection import Runner
from agent_hub.workers import Worker

log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 20.0
SHUTDOWN_SECONDS = 3.0
"""For a handler that does not end by itself; aiohttp waits so long twice."""

MAX_FILES = 65_536
NEW_OBJECTS = 10_000
"""So many more containers were made than went before the garbage collector looks at them."""


def run(
    settings: Settings,
    worker: Worker | None = None,
    *,
    on_reload: Callable[[], None] = lambda: None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code of the process.

    A `worker` shares the port with others, and ends when their supervisor does. `on_reload` is
    called at SIGHUP.
    """
    allow_many_sockets()
    try:
        import uvloop
    except ImportError:  # not on this platform
        return asyncio.run(_serve(settings, worker, on_reload))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, worker, on_reload))


async def _serve(settings: Settings, worker: Worker | None, on_reload: Callable[[], None]) -> int:
    signals = Signals()
    signals.listen()
    share = None if worker is None else Share(worker.folder, worker.number)
    try:
        tls = _tls(settings)
        app = create_app(settings, share=share)
    except (NoCertificate, SettingsError) as error:
        log.critical("cannot start: %s", error)
        return 1
    except OSError as error:
        log.critical("cannot start: %s: %s", error.filename, error.strerror)
        return 1
    signals.on_reload += [on_reload, *app[ON_RELOAD]]
    if tls is not None:
        signals.on_reload.append(tls.reload)
    runner = make_runner(app)
    try:
        context = None if tls is None else tls.context
        if not await _listens(runner, settings, context, shared=worker is not None):
            return 1
        collect_seldom()
        log.info("Agent Hub %s listens on %s", __version__, _where(runner, context))
        if worker is not None:
            worker.serves(orphaned=signals.stopping.set)
        await signals.stopping.wait()
        log.info("shutting down")
        return 0
    finally:
        await runner.cleanup()


def _tls(settings: Settings) -> Tls | None:
    """Raises NoCertificate."""
    return Tls(Path(settings.tls_cert), Path(settings.tls_key)) if settings.tls_cert else None


def make_runner(app: web.Application) -> web.AppRunner:
    """How the application is served: deadlines that aiohttp leaves open are set here."""
    return Runner(
        app,
        app[GATE],
        access_log=None,
        handle_signals=False,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
        auto_decompress=False,
    )


async def _listens(
    runner: web.AppRunner, settings: Settings, context: ssl.SSLContext | None, *, shared: bool
) -> bool:
    """Start, or say in one line why not. A `shared` port is also other workers'."""
    site = partial(web.TCPSite, backlog=1024, reuse_port=shared or None, ssl_context=context)
    try:
        await runner.setup()
        await site(runner, settings.host, settings.port).start()
    except BackendUnavailable as error:
        log.critical("cannot start: %s", error.detail)
        return False
    except OSError as error:
        log.critical("%s", cannot_listen(settings.host, settings.port, error))
        return False
    return True


def _where(runner: web.AppRunner, context: ssl.SSLContext | None) -> str:
    """The real address, also when the port was chosen by the system."""
    scheme = "http" if context is None else "https"
    host, port = runner.addresses[0][:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


# --- what a start asks of the system and of Python --------------------------------------


def allow_many_sockets() -> None:
    """Open as many as the system lets us; many let a process open 1,024 until it asks for more.

    The event loop drops a connection above that without a word.
    """
    try:
        import resource
    except ImportError:  # not on this platform
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def collect_seldom() -> None:
    """Keep the garbage collector from what only passes by, and from what stays to the end.

    The requests that wait for one commit are more objects than Python's own limit of 700, so it
    would walk through them all the time, and find nothing (docs/decisions/0020).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)

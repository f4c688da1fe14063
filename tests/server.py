"""A real hub on a real socket, inside the test's own event loop."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

from agent_hub.app import HUB, create_app
from agent_hub.auth.oauth.documents import Documents
from agent_hub.auth.store import CredentialStore
from agent_hub.config import Settings
from agent_hub.core.clock import Clock
from agent_hub.core.hub import Hub
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.prometheus import Share
from agent_hub.serving import make_runner
from tests import canary


class RunningHub:
    """Where it listens, the hub inside, and a client session bound to it."""

    def __init__(
        self,
        app: web.Application,
        port: int,
        session: ClientSession,
        runner: web.AppRunner | None = None,
    ) -> None:
        self.app = app
        self.runner = runner
        self.port = port
        self.session = session

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        assert self.runner is not None
        assert self.runner.server is not None
        return len(self.runner.server.connections)

    @property
    def hub(self) -> Hub:
        return self.app[HUB]


@asynccontextmanager
async def running_hub(
    *,
    clock: Clock | None = None,
    backend: QueueBackend | None = None,
    share: Share | None = None,
    credentials: CredentialStore | None = None,
    documents: Documents | None = None,
    holding: int | None = None,
    cancelling: bool = False,
    **settings: Any,
) -> AsyncIterator[RunningHub]:
    """A hub with these settings, served as `python server.py` serves it, rate limit off.

    With `holding`, its sockets take about so many bytes that nobody reads; `cancelling` lets
    aiohttp cancel the handler of a connection that was lost.
    """
    settings = {"rate_limit": 0, "port": 0, **settings}
    app = create_app(
        Settings(**settings),
        clock=clock,
        backend=backend,
        share=share,
        credentials=credentials,
        documents=documents,
    )
    runner = make_runner(app)
    runner._kwargs["handler_cancellation"] = cancelling
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    if holding is not None:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, holding)
    try:
        await web.SockSite(runner, listening).start()
        port = listening.getsockname()[1]
        base = f"http://127.0.0.1:{port}"
        async with ClientSession(base, timeout=ClientTimeout(total=60)) as session:
            yield RunningHub(app, port, session, runner)
            await canary.plant(session)
    finally:
        await runner.cleanup()

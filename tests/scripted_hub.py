"""A hub that misbehaves as a test tells it, on a real socket: no real hub can be asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.patience import PATIENCE

HEARTBEAT = 30


@dataclass
class Socket:
    """The hub's end of one WebSocket."""

    request: web.Request
    ws: web.WebSocketResponse
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, frame: dict[str, Any]) -> None:
        await self.ws.send_json(frame)

    async def receive(self) -> Any:
        """The next frame of the client: an object, or the type of a control frame."""
        frame = await self.ws.receive(timeout=PATIENCE)
        return frame.json() if frame.type is WSMsgType.TEXT else frame.type

    async def close(self, code: int, reason: str = "") -> None:
        await self.ws.close(code=code, message=reason.encode())
        self.over.set()

    def cut(self) -> None:
        """What a pulled cable looks like once the network has noticed."""
        assert self.request.transport is not None
        self.request.transport.abort()
        self.over.set()


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedHub:
    """Answers each REST call with the next of its script; gives each WebSocket to the test."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.keys: list[str | None] = []
        self.script: list[Answer] = []
        self.upgrades: list[Answer] = []
        self._sockets: asyncio.Queue[Socket] = asyncio.Queue()
        self._open: list[Socket] = []
        self.url = ""

    @property
    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/ws/{agent_id}", self._upgrade)
        app.router.add_route("*", "/api/v1/{path:.*}", self._call)
        return app

    async def _call(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.calls.append((request.method, request.match_info["path"], body))
        self.keys.append(request.headers.get("Idempotency-Key"))
        return await self.script.pop(0)(request)

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        if self.upgrades:
            return await self.upgrades.pop(0)(request)
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        socket = Socket(request, ws)
        self._open.append(socket)
        self._sockets.put_nowait(socket)
        await socket.over.wait()
        return ws

    async def connection(self, **welcome: Any) -> Socket:
        """The client's next WebSocket, greeted."""
        async with asyncio.timeout(PATIENCE):
            socket = await self._sockets.get()
        frame = {"type": "hub.welcome", "from": "hub", "heartbeat_seconds": HEARTBEAT}
        await socket.send({**frame, "recovered": True, "cursor": "e:0", **welcome})
        return socket

    def hang_up(self) -> None:
        for socket in self._open:
            socket.over.set()


def says(status: int, body: Any, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return answer


def refuses(status: int, code: str, *, retryable: bool = False, **headers: str) -> Answer:
    problem = {"code": code, "status": status, "detail": "because", "request_id": "r1"}
    return says(status, {**problem, "retryable": retryable}, **headers)


async def cuts(request: web.Request) -> web.StreamResponse:
    """Take the request, and hang up instead of answering."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()

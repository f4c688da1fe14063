"""The other end of a WebSocket: does nothing by itself, so that a test can withhold anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.patience import PATIENCE

Frame = dict[str, Any]
BARRIER = b"barrier"
EVENTS = ("agent.joined", "agent.left", "agent.status")


class Reachable(Protocol):
    """A hub, in this process or another."""

    @property
    def session(self) -> ClientSession: ...


class Peer:
    """Reads frame by frame. With `receipts` it answers pings as it reads them, else keeps them."""

    def __init__(self, socket: ClientWebSocketResponse, *, receipts: bool) -> None:
        self.socket = socket
        self.receipts = receipts
        self.pings: list[bytes] = []
        self.welcome: Frame = {}

    async def next(self) -> Frame:
        """The next frame of any kind but ping and pong."""
        while True:
            received = await self._receive()
            if received.type is WSMsgType.TEXT:
                frame = json.loads(received.data)
                assert isinstance(frame, dict)
                return frame
            assert received.type in (WSMsgType.PING, WSMsgType.PONG), received

    async def frames(self, count: int) -> list[Frame]:
        """So many frames."""
        return [await self.next() for _ in range(count)]

    async def texts(self, count: int) -> list[str]:
        """What so many messages say."""
        return [frame["text"] for frame in await self.frames(count)]

    async def ping(self) -> bytes:
        """The next ping; no frame may come before it."""
        while not self.pings:
            received = await self._receive()
            assert received.type is WSMsgType.PING, received
        return self.pings.pop(0)

    async def say(self, frame: Frame | str) -> None:
        await self.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def ask(self, frame: Frame | str) -> Frame:
        """Say something and read the answer to it."""
        await self.say(frame)
        return await self.next()

    async def send(self, to: str, text: str = "hello", **more: Any) -> Frame:
        """Send a message and read the hub's answer."""
        return await self.ask({"type": "message", "to": to, "text": text, **more})

    async def sync(self) -> list[Frame]:
        """Wait until the hub has read all that was said; what else it wrote meanwhile."""
        await self.socket.ping(BARRIER)
        frames: list[Frame] = []
        while True:
            received = await self._receive()
            if received.type is WSMsgType.PONG and received.data == BARRIER:
                return frames
            if received.type is WSMsgType.TEXT:
                frames.append(json.loads(received.data))
            else:
                assert received.type in (WSMsgType.PING, WSMsgType.PONG), received

    async def closed(self) -> int:
        """The code with which the hub closes; nothing but pings may come before."""
        received = await self._receive()
        while received.type is WSMsgType.PING:
            received = await self._receive()
        assert received.type is WSMsgType.CLOSE, received
        return int(received.data)

    async def _receive(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            received = await self.socket.receive()
        if received.type is WSMsgType.PING:
            if self.receipts:
                await self.socket.pong(received.data)
            else:
                self.pings.append(bytes(received.data))
        return received

    def vanish(self) -> None:
        """Cut the line without a close frame."""
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()


@asynccontextmanager
async def connected(
    hub: Reachable,
    agent_id: str,
    *,
    receipts: bool = True,
    events: str | None = "none",
    **query: str | int,
) -> AsyncIterator[Peer]:
    """An open socket that has read its welcome; left open at the end, it is cut."""
    asked = {name: str(value) for name, value in query.items()}
    if events is not None:
        asked["events"] = events
    socket = await hub.session.ws_connect(
        f"/ws/{agent_id}", params=asked, autoping=False, autoclose=False, max_msg_size=0
    )
    peer = Peer(socket, receipts=receipts)
    try:
        peer.welcome = await peer.next()
        yield peer
    finally:
        if not socket.closed:
            peer.vanish()
        socket._response.close()  # a socket that was told not to close itself keeps hold of it


async def post(hub: Reachable, to: str, *texts: str, sender: str = "alpha", **more: Any) -> Frame:
    """Send messages by REST; the answer to the last."""
    answer: Frame = {}
    for text in texts:
        body = {"from": sender, "to": to, "text": text, **more}
        async with hub.session.post("/api/v1/messages", json=body) as response:
            answer = await response.json(content_type=None)
            assert response.status == 202, answer
    return answer


async def look(hub: Reachable, agent_id: str, **query: str) -> list[Frame]:
    """What an inbox shows; nothing changes."""
    asked = {"agent_id": agent_id, **query}
    async with hub.session.get("/api/v1/messages", params=asked) as response:
        messages = (await response.json())["messages"]
        assert isinstance(messages, list)
        return messages


async def until(hub: Reachable, happened: Callable[[], object]) -> None:
    """Wait until something is so inside the hub; each look at it is a round trip."""
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await look(hub, "nobody")


async def state(hub: Reachable, message_id: str, agent_id: str) -> str:
    """Where a message stands, to its sender or its recipient."""
    path = f"/api/v1/messages/{message_id}"
    async with hub.session.get(path, params={"agent_id": agent_id}) as response:
        answer = await response.json(content_type=None)
        assert response.status == 200, answer
        return str(answer["recipients"][0]["state"])


async def metric(hub: Reachable, name: str) -> float:
    """One sample of /metrics, its labels as they are written there."""
    async with hub.session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

"""A WebSocket spoken by hand on a plain socket: for what no well-behaved client would do."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tests.patience import PATIENCE
from tests.server import RunningHub

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

HANDSHAKE = (
    "GET /ws/{agent_id}?{query} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(kind: int, data: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """One frame of a client; its mask is all zeros."""
    first = (0x80 if final else 0) | kind
    bit = 0x80 if masked else 0
    if len(data) < 126:
        head = struct.pack("!BB", first, bit | len(data))
    elif len(data) < 65_536:
        head = struct.pack("!BBH", first, bit | 126, len(data))
    else:
        head = struct.pack("!BBQ", first, bit | 127, len(data))
    return head + (bytes(4) if masked else b"") + data


class Line:
    """An upgraded connection. What it sends is with the hub's kernel at once, read or not."""

    def __init__(self, plain: socket.socket) -> None:
        self.plain = plain
        self._loop = asyncio.get_running_loop()

    def send(self, *frames: bytes) -> None:
        """Everything in one segment, so that the hub reads it in one turn of its loop."""
        self.plain.setblocking(True)
        self.plain.sendall(b"".join(frames))
        self.plain.setblocking(False)

    async def open(self) -> None:
        """Read the upgrade and the welcome."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self._exactly(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        kind, _ = await self.receive()
        assert kind == TEXT

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: its kind and data. (CLOSE, b"") when the line was cut."""
        head = await self._exactly(2)
        if len(head) < 2:
            return CLOSE, b""
        length = head[1] & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self._exactly(8))
        return head[0] & 0x0F, await self._exactly(length)

    async def text(self) -> bytes:
        """The next text frame."""
        kind, data = await self.receive()
        while kind != TEXT:
            assert kind != CLOSE, data
            kind, data = await self.receive()
        return data

    async def close_code(self) -> int | None:
        """The code of the hub's close frame, past all other frames; None when it just cut."""
        async with asyncio.timeout(PATIENCE):
            kind, data = await self.receive()
            while kind != CLOSE:
                kind, data = await self.receive()
        return int.from_bytes(data[:2], "big") if data else None

    async def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = await self._loop.sock_recv(self.plain, count - len(data))
            except ConnectionError:
                return data
            if not more:
                return data
            data += more
        return data

    def cut(self) -> None:
        """Reset the connection, as a killed machine would have it."""
        self.plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.plain.close()


@contextmanager
def dialled(
    hub: RunningHub, agent_id: str, query: str = "", *, buffer: int | None = None
) -> Iterator[Line]:
    """A connection that asked for the upgrade and did not wait for the answer; cut at the end.

    `buffer` makes the kernel hold so little for this end that the hub soon cannot write.
    """
    with socket.socket() as plain:
        if buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plain.connect(("127.0.0.1", hub.port))
        line = Line(plain)
        request = HANDSHAKE.format(agent_id=agent_id, query=query, port=hub.port)
        line.send(request.encode())
        yield line
        if plain.fileno() >= 0:
            line.cut()


@asynccontextmanager
async def upgraded(
    hub: RunningHub, agent_id: str, query: str = "", *, buffer: int | None = None
) -> AsyncIterator[Line]:
    """A connection that has read the upgrade and the welcome, and is told of no events."""
    with dialled(hub, agent_id, f"events=none&{query}", buffer=buffer) as line:
        await line.open()
        yield line

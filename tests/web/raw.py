"""HTTP spoken by hand, for what no client library would send, or would hide."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.patience import PATIENCE
from tests.server import RunningHub

SMALL = 4096
"""So many bytes a socket holds, where an answer is not to be written before somebody reads it."""


class Answer:
    """One response. `headers` have lower-case names."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class RawConnection:
    """A TCP connection to a hub."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole request; `headers` replace the usual ones, and an empty value removes one."""
        usual = {"Host": "localhost", "Content-Type": "application/json" if body else ""}
        if body or method == "POST":
            usual["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [
            f"{name}: {value}" for name, value in {**usual, **(headers or {})}.items() if value
        ]
        await self.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def answer(self, *, has_body: bool = True) -> Answer:
        """The next response."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status_line, *lines = head.strip().split("\r\n")
            pairs = (line.partition(": ") for line in lines)
            headers = {name.lower(): value for name, _, value in pairs}
            length = int(headers.get("content-length", 0)) if has_body else 0
            body = await self.reader.readexactly(length)
        return Answer(int(status_line.split()[1]), headers, body)

    def cut(self) -> None:
        """End the connection as a killed process does: nothing is said, and no answer taken."""
        self.writer.transport.abort()


@asynccontextmanager
async def connected(hub: RunningHub, *, holding: int = 64 * 1024) -> AsyncIterator[RawConnection]:
    """A connection that takes about so many bytes without being read."""
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, holding)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", hub.port))
    reader, writer = await asyncio.open_connection(sock=client, limit=holding)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


async def call(
    hub: RunningHub,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    async with connected(hub) as connection:
        await connection.request(method, path, body, headers)
        return await connection.answer(has_body=method != "HEAD")

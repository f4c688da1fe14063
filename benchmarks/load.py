"""A load that costs little: prepared requests on raw sockets, one answer awaited on each."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable
from typing import cast

OK = (b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 202")
TEXT = "x" * 200


def request(port: int, path: str, body: dict[str, object]) -> bytes:
    """One POST, ready to be written."""
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def send_request(port: int, sender: str, recipient: str, text: str = TEXT) -> bytes:
    return request(port, "/api/v1/messages", {"from": sender, "to": recipient, "message": text})


class Caller(asyncio.Protocol):
    """A keep-alive connection that makes its requests in turn, each after an answer.

    It begins again at their end, unless it makes each only `once`.
    """

    def __init__(
        self, requests: list[bytes], answered: Callable[[bool], None], *, once: bool = False
    ) -> None:
        self._once = once
        self._requests = requests
        self._answered = answered
        self._sent = 0
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def next(self) -> None:
        self.make(self._requests[self._sent % len(self._requests)])

    def make(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)
        self._sent += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"Content-Length: ") + 16
        length = int(self._buffer[at : self._buffer.find(b"\r", at)])
        if len(self._buffer) < head + 4 + length:
            return
        accepted = self._buffer.startswith(OK)
        self._buffer = b""
        self._answered(accepted)
        if not self.stopped and not (self._once and self._sent == len(self._requests)):
            self.next()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Listener(asyncio.Protocol):
    """A WebSocket that reads everything and answers each ping: a plain connected agent."""

    def __init__(self, port: int, agent_id: str) -> None:
        self._port = port
        self._agent_id = agent_id
        self._buffer = b""
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.frames = 0
        self.on_frame: Callable[[bytes], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /ws/{self._agent_id}?events=none HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            assert head.startswith(b"HTTP/1.1 101"), head
            self._upgraded, self._buffer = True, rest
        self._take_frames()

    def _take_frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            length, start = buffer[at + 1], at + 2
            if length == 126:
                length, start = int.from_bytes(buffer[at + 2 : at + 4], "big"), at + 4
            elif length == 127:
                length, start = int.from_bytes(buffer[at + 2 : at + 10], "big"), at + 10
            if len(buffer) < start + length or start > len(buffer):
                break
            self._take(buffer[at] & 0x0F, buffer[start : start + length])
            at = start + length
        self._buffer = buffer[at:]

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:  # a ping: answered masked, as clients must, with a mask of zeros
            assert self._transport is not None
            self._transport.write(bytes((0x8A, 0x80 | len(payload), 0, 0, 0, 0)) + payload)
        elif opcode == 1:
            self.frames += 1
            if self.on_frame is not None:
                self.on_frame(payload)
            if not self.ready.done():
                self.ready.set_result(None)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def listen(port: int, agent_id: str) -> Listener:
    """A connected agent that has had its welcome."""
    loop = asyncio.get_running_loop()
    _, listener = await loop.create_connection(lambda: Listener(port, agent_id), "127.0.0.1", port)
    await listener.ready
    return listener


async def call(port: int, caller: Caller) -> Caller:
    """The caller, connected."""
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: caller, "127.0.0.1", port)
    return caller


async def drive(port: int, requests: list[list[bytes]], seconds: float) -> tuple[int, int]:
    """Each list of requests on a connection of its own, for so long: accepted and refused."""
    counts = {True: 0, False: 0}

    def answered(accepted: bool) -> None:
        counts[accepted] += 1

    callers = [await call(port, Caller(own, answered)) for own in requests]
    for caller in callers:
        caller.next()
    await asyncio.sleep(seconds)
    for caller in callers:
        caller.stopped = True
    taken = counts[True], counts[False]
    await asyncio.sleep(0.1)
    for caller in callers:
        caller.close()
    return taken


async def deliver_all(port: int, requests: list[list[bytes]]) -> int:
    """Each list once, on a connection of its own: how many, all of them accepted."""
    total = sum(map(len, requests))
    left = total
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(accepted: bool) -> None:
        nonlocal left
        left -= 1
        if not accepted and not done.done():
            done.set_exception(RuntimeError("the hub refused a request of the load"))
        elif left == 0 and not done.done():
            done.set_result(None)

    callers = [await call(port, Caller(own, answered, once=True)) for own in requests if own]
    for caller in callers:
        caller.next()
    await done
    for caller in callers:
        caller.close()
    return total

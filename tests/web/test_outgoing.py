"""Answers leave together, and none overtakes another on its connection."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import HttpVersion11, web

from agent_hub.web.outgoing import Outgoing
from agent_hub.web.reply import Reply
from tests.server import RunningHub
from tests.web.caller import MESSAGES
from tests.web.raw import connected

SEND = json.dumps({"from": "beta", "to": "alpha", "message": "hello"}).encode()


def request_text(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    named = {"Host": "localhost", **headers}
    if body:
        named |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {named[name]}" for name in named), "", ""]
    return "\r\n".join(lines).encode() + body


async def test_requests_in_line_are_answered_in_their_order(served: RunningHub) -> None:
    """Sent, looked at, refused, taken (an answer that is written at once), and the end."""
    receive = json.dumps({"agent_id": "alpha"}).encode()
    line = [
        request_text("POST", MESSAGES, SEND),
        request_text("GET", f"{MESSAGES}?agent_id=alpha"),
        request_text("GET", "/nowhere"),
        request_text("POST", MESSAGES, b"{"),
        request_text("POST", f"{MESSAGES}/receive", receive),
        request_text("HEAD", "/health", Connection="close"),
    ]
    async with connected(served) as connection:
        await connection.write(b"".join(line))
        answers = [await connection.answer() for _ in line[:-1]]
        answers.append(await connection.answer(has_body=False))
        assert await connection.reader.read() == b""
    assert [answer.status for answer in answers] == [202, 200, 404, 400, 200, 200]
    assert answers[1].json()["total"] == 1
    assert len(answers[4].json()["messages"]) == 1


class Connection:
    """One that has a request, and its transport: as uvloop's, which a closed one is not."""

    def __init__(self, **state: Any) -> None:
        self.writing_paused = self._upgraded = self._close = False
        self._messages: list[object] = []
        self.transport: Connection | None = self
        self.keep_alive = self.is_read = True
        self.content = SimpleNamespace(is_eof=lambda: self.is_read)
        self.closed = False
        self.written: list[bytes] = []
        self.method = "GET"
        self.version = HttpVersion11
        vars(self).update(state)

    @property
    def protocol(self) -> Connection:
        return self

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")
        self.written.append(data)


def take(outgoing: Outgoing, connection: Connection) -> Reply:
    reply = Reply(200, b"{}")
    outgoing.take(cast(web.Request, cast(Any, connection)), reply)
    return reply


async def test_answers_are_written_when_the_turn_of_the_loop_is_over() -> None:
    outgoing, connections = Outgoing(), [Connection(), Connection()]
    for _ in range(2):
        assert all(take(outgoing, connection).prepared for connection in connections)
        assert not any(connection.written for connection in connections)
        await asyncio.sleep(0)
        for connection in connections:
            (whole,) = connection.written
            assert whole.endswith(b"\r\n\r\n{}")
            connection.written.clear()


async def test_a_client_that_went_away_meanwhile_is_no_failure() -> None:
    outgoing, gone, here = Outgoing(), Connection(), Connection()
    take(outgoing, gone)
    take(outgoing, here)
    gone.closed = True
    await asyncio.sleep(0)
    assert not gone.written
    assert here.written


@pytest.mark.parametrize(
    "state",
    [
        {"transport": None},
        {"closed": True},
        {"writing_paused": True},
        {"_messages": [object()]},
        {"_upgraded": True},
        {"_close": True},
        {"is_read": False},
        {"keep_alive": False},
    ],
    ids=lambda state: next(iter(state)),
)
async def test_what_cannot_wait_is_left_to_be_written_at_once(state: dict[str, Any]) -> None:
    outgoing, connection = Outgoing(), Connection(**state)
    assert not take(outgoing, connection).prepared
    await asyncio.sleep(0)
    assert not connection.written

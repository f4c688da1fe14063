"""Every door sends to every door, each message once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.mcp.door import Ide, call, ide
from tests.server import RunningHub
from tests.web.caller import Caller
from tests.web.peer import connected

Send = Callable[[str], Awaitable[object]]
Read = Callable[[], Awaitable[list[str]]]


@asynccontextmanager
async def sending(hub: RunningHub, door: str) -> AsyncIterator[Send]:
    if door == "rest":
        yield lambda text: Caller(hub.session).send("alpha", "beta", text)
    elif door == "websocket":
        async with connected(hub, "alpha") as peer:
            yield lambda text: peer.send("beta", text)
    else:
        async with ide(hub) as one:
            yield lambda text: one.send("alpha", "beta", text)


@asynccontextmanager
async def reading(hub: RunningHub, door: str) -> AsyncIterator[Read]:
    if door == "rest":
        yield lambda: _texts(Caller(hub.session).receive("beta"))
    elif door == "websocket":
        async with connected(hub, "beta") as peer:

            async def arrived() -> list[str]:
                return [frame["text"] for frame in await peer.sync() if "text" in frame]

            yield arrived
    else:
        async with ide(hub) as one:
            yield lambda: _texts(one.call("get_messages", client_id="beta"))


async def _texts(reading: Awaitable[dict[str, Any]]) -> list[str]:
    return [message["text"] for message in (await reading)["messages"]]


@pytest.mark.parametrize("receiver", ["rest", "websocket", "mcp"])
@pytest.mark.parametrize("sender", ["rest", "websocket", "mcp"])
async def test_what_one_door_takes_another_delivers_once(
    served: RunningHub, sender: str, receiver: str
) -> None:
    async with reading(served, receiver) as read, sending(served, sender) as send:
        for text in ("one", "two", "three"):
            await send(text)
        arrived: list[str] = []
        while len(arrived) < 3:
            arrived += await read()
        assert arrived == ["one", "two", "three"]
        assert await read() == []


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
async def test_a_bare_call_without_a_handshake_reaches_a_websocket(
    served: RunningHub, path: str
) -> None:
    body, _ = call("send_message", sender_id="alpha", recipient_id="beta", message="hi")
    async with connected(served, "beta") as beta:
        headers = {"Content-Type": "application/json", "Accept": "*/*"}  # what curl sends
        async with served.session.post(path, data=body, headers=headers) as answer:
            assert answer.status == 200
            told = await answer.json()
        frame = await beta.next()
    assert told["result"]["structuredContent"]["message_id"] == frame["id"]
    assert (frame["from"], frame["text"]) == ("alpha", "hi")


async def test_what_an_ide_sends_to_all_comes_to_all(served: RunningHub, alpha: Ide) -> None:
    async with connected(served, "beta") as beta, connected(served, "gamma") as gamma:
        sent = await alpha.send("alpha", "ALL", "hello all")
        assert (sent["accepted_count"], sent["rejected"]) == (2, [])
        assert await beta.texts(1) == await gamma.texts(1) == ["hello all"]

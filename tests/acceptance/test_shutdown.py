"""SIGTERM with everything open: all is told, and the process is gone in a moment."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from asyncio import Task
from collections import Counter
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiohttp import ClientError

from tests.acceptance.process import HubProcess, hub_process
from tests.web.peer import connected, look, post, state

SENDERS = 8
READERS = 4


def call(hub: HubProcess, method: str, path: str, **more: Any) -> Task[tuple[int, Any]]:
    """A request under way."""

    async def answer() -> tuple[int, Any]:
        async with hub.session.request(method, f"/api/v1/{path}", **more) as response:
            return response.status, await response.json(content_type=None)

    return asyncio.ensure_future(answer())


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
async def test_a_hub_told_to_stop_ends_its_streams_and_waits_and_exits_0(
    how: signal.Signals,
) -> None:
    async with (
        hub_process() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta", receipts=False) as beta,
        connected(hub, "gamma", ack="manual") as gamma,
    ):
        sent = await post(hub, "beta", "unread")
        await beta.texts(1)
        await alpha.ask({"to": "gamma", "text": "ready?", "wait": 300, "ref": "q"})
        await gamma.next()
        look = call(hub, "GET", "messages?agent_id=x&wait=50")
        take = call(hub, "POST", "messages/receive", json={"agent_id": "y", "wait": 50})
        question = {"from": "z", "to": "gamma", "text": "?", "wait": 300}
        ask = call(hub, "POST", "messages", json=question)
        await gamma.next()
        assert await state(hub, sent["message_id"], "beta") == "leased"
        started = monotonic()
        hub.process.send_signal(how)
        reply, *notices = [await alpha.next(), *[await one.next() for one in (alpha, beta, gamma)]]
        assert (reply["type"], reply["status"], reply["ref"]) == ("hub.reply", "pending", "q")
        assert {notice["type"] for notice in notices} == {"hub.notice"}
        assert [await one.closed() for one in (alpha, beta, gamma)] == [1001] * 3
        assert await look == (200, {**(await look)[1], "messages": []})
        assert (await take)[1]["messages"] == []
        status, asked = await ask
        assert (status, asked["status"], asked["reply"]) == (202, "pending", None)
        assert await asyncio.wait_for(hub.process.wait(), 10) == 0
        assert monotonic() - started < 4


class Load:
    """Senders over REST and readers on sockets, until the hub is gone."""

    def __init__(self, hub: HubProcess) -> None:
        self.hub = hub
        self.statuses = Counter[int]()
        self.accepted: dict[str, str] = {}  # id -> text
        self.read: dict[str, str] = {}
        self.closes: list[int | None] = []

    async def send(self, number: int) -> None:
        """One message after the other, each to the next reader."""
        with suppress(ClientError):  # the port is closed
            for count in itertools.count():
                text = f"{number}:{count}"
                body = {"from": f"sender-{number}", "to": f"reader-{count % READERS}", "text": text}
                async with self.hub.session.post("/api/v1/messages", json=body) as response:
                    answer = await response.json(content_type=None)
                    self.statuses[response.status] += 1
                    if response.status == 202:
                        self.accepted[answer["message_id"]] = text

    async def receive(self, number: int) -> None:
        """Long polls, whose messages are acked once they were written."""
        body = {"agent_id": f"reader-{number}", "wait": 50, "limit": 10}
        with suppress(ClientError):
            while True:
                path = "/api/v1/messages/receive"
                async with self.hub.session.post(path, json=body) as response:
                    self.statuses[response.status] += 1
                    answer = await response.json(content_type=None)
                    for message in answer.get("messages", ()):
                        self.read[message["id"]] = message["text"]

    async def listen(self, number: int) -> None:
        """A socket, until it is closed."""
        socket = await self.hub.session.ws_connect(f"/ws/reader-{number}?events=none")
        async for frame in socket:
            message = json.loads(frame.data)
            if message["type"] == "message":
                self.read[message["id"]] = message["text"]
        self.closes.append(socket.close_code)


@pytest.mark.slow
async def test_under_load_nothing_is_lost_and_everybody_is_told(tmp_path: Path) -> None:
    flags = ("--rate-limit", "0", "--backend", f"sqlite:///{tmp_path}/hub.db")
    async with hub_process(*flags) as hub:
        load = Load(hub)
        tasks = [asyncio.ensure_future(load.send(number)) for number in range(SENDERS)]
        tasks += [asyncio.ensure_future(load.listen(number)) for number in range(READERS - 1)]
        tasks += [asyncio.ensure_future(load.receive(READERS - 1)) for _ in range(2)]
        while len(load.accepted) < 1_000:
            await asyncio.wait(tasks, timeout=0.01)
        hub.process.terminate()
        assert await asyncio.wait_for(hub.process.wait(), 10) == 0
        await asyncio.gather(*tasks)
    assert load.statuses.keys() <= {200, 202, 429, 503}
    assert load.closes == [1001] * (READERS - 1)
    left: dict[str, str] = {}
    async with hub_process(*flags) as hub:
        for number in range(READERS):
            for message in await look(hub, f"reader-{number}", limit="1000"):
                left[message["id"]] = message["text"]
    found = {**left, **load.read}
    assert {message_id: found.get(message_id) for message_id in load.accepted} == load.accepted


@pytest.mark.slow
async def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    async with (
        hub_process("--rate-limit", "0") as hub,
        connected(hub, "beta", receipts=False, max_in_flight=1000),
    ):
        await post(hub, "beta", *("x" * 60_000 for _ in range(130)))
        started = monotonic()
        hub.process.terminate()
        assert await asyncio.wait_for(hub.process.wait(), 10) == 0
        assert monotonic() - started < 9

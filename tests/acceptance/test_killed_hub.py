"""The hub is killed under load, again and again: on SQLite nothing that it accepted is lost."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from tests.acceptance.process import HubProcess, hub_process

HOUR = 3_600


class Records:
    """What the load itself saw: it outlives every hub."""

    def __init__(self) -> None:
        self.accepted: dict[str, tuple[str, str, int]] = {}  # id -> recipient, epoch, seq
        self.texts: dict[str, str] = {}
        self.read: dict[str, dict[str, Any]] = {}
        self.acked: set[str] = set()
        self.again = 0

    def take(self, message: dict[str, Any]) -> None:
        if message["id"] in self.read:
            assert message["attempt"] > 1, "a duplicate that does not say so"
            self.again += 1
        self.read[message["id"]] = message

    def check(self) -> None:
        """Nothing lost, nothing that nobody sent, no hole."""
        assert self.accepted.keys() - self.read.keys() == set(), "lost"
        assert self.read.keys() - self.accepted.keys() == set(), "unexpected"
        for message_id, text in self.texts.items():
            assert self.read[message_id]["text"] == text
        seqs = defaultdict(list)
        for recipient, epoch, seq in self.accepted.values():
            seqs[recipient, epoch].append(seq)
        assert len(seqs) == len({recipient for recipient, _ in seqs}), "an epoch changed"
        for numbers in seqs.values():
            assert sorted(numbers) == list(range(1, len(numbers) + 1)), "a hole in seq"


class Load:
    """Senders and readers that go on over the lives of several hubs.

    A sender repeats a send by its key until it is answered; a reader acks what it took.
    """

    def __init__(self, senders: int, readers: int) -> None:
        self.records = Records()
        self._senders = senders
        self._readers = [f"reader-{number}" for number in range(readers)]
        self._next = [0] * senders

    async def life(self, hub: HubProcess, until: int) -> None:
        """Go on until so many messages were accepted in all; then the hub is killed."""
        tasks = [asyncio.ensure_future(self._send(hub.session, n)) for n in range(self._senders)]
        tasks += [asyncio.ensure_future(self._read(hub.session, name)) for name in self._readers]
        while len(self.records.accepted) < until:
            await asyncio.wait(tasks, timeout=0.005)
        hub.process.kill()
        await asyncio.gather(*tasks)

    async def _send(self, session: ClientSession, number: int) -> None:
        try:
            while True:
                await self._send_one(session, number)
        except (ClientError, OSError):
            return

    async def _send_one(self, session: ClientSession, number: int) -> None:
        count = self._next[number]
        text, to = f"{number}:{count}", self._readers[(number + count) % len(self._readers)]
        body = {"from": f"sender-{number}", "to": to, "text": text, "ttl": HOUR}
        async with session.post(
            "/api/v1/messages", json=body, headers={"Idempotency-Key": text}
        ) as response:
            answer = await response.json()
            if response.status == 429:
                await asyncio.sleep(0.02)
                return
            assert response.status == 202, answer
        assert answer["durability"] == "disk"
        self.records.accepted[answer["message_id"]] = (to, answer["epoch"], answer["seq"])
        self.records.texts[answer["message_id"]] = text
        self._next[number] += 1

    async def _read(self, session: ClientSession, name: str) -> None:
        try:
            while True:
                await self._read_some(session, name, wait=5)
        except (ClientError, OSError):
            return

    async def _read_some(self, session: ClientSession, name: str, wait: int) -> int:
        body = {"agent_id": name, "limit": 50, "wait": wait, "ack": "manual", "lease": 60}
        async with session.post("/api/v1/messages/receive", json=body) as response:
            messages = (await response.json())["messages"]
        for message in messages:
            self.records.take(message)
        ids = [message["id"] for message in messages]
        body = {"agent_id": name, "ids": ids}
        async with session.post("/api/v1/messages/ack", json=body) as response:
            assert (await response.json())["acked"] == len(ids)
        self.records.acked.update(ids)
        return len(ids)

    async def finish(self, hub: HubProcess) -> None:
        """Send what was not answered once more, and read all that is left."""
        for number in range(self._senders):
            await self._send_one(hub.session, number)
        for name in self._readers:
            while await self._read_some(hub.session, name, wait=0):
                pass


async def storm(path: Path, kills: int, messages: int, senders: int, readers: int) -> Load:
    load, random = Load(senders, readers), Random(kills)
    flags = ("--rate-limit", "0", "--backend", f"sqlite:///{path}")
    moments = sorted(random.sample(range(messages // kills // 2, messages), kills - 1))
    starts = []
    for until in [*moments, messages]:
        began = time.monotonic()
        async with hub_process(*flags) as hub:
            starts.append(time.monotonic() - began)
            await load.life(hub, until)
    async with hub_process(*flags) as hub:
        await load.finish(hub)
    print(f"{len(load.records.accepted)} accepted, {load.records.again} read again, "  # noqa: T201
          f"slowest start {max(starts):.2f} s")  # fmt: skip
    return load


async def test_killed_under_load_a_hub_on_sqlite_loses_nothing(tmp_path: Path) -> None:
    load = await storm(tmp_path / "hub.db", kills=3, messages=1_500, senders=8, readers=4)
    load.records.check()


@pytest.mark.slow
async def test_killed_twenty_times_a_hub_on_sqlite_loses_nothing(tmp_path: Path) -> None:
    load = await storm(tmp_path / "hub.db", kills=20, messages=50_000, senders=32, readers=16)
    load.records.check()

"""A crowd that talks and goes: each message once, and nothing left behind."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest
from aiohttp import ClientSession, TCPConnector

from tests.acceptance.leaping import LeapingClock
from tests.acceptance.tables import sizes
from tests.server import RunningHub, running_hub
from tests.web.line import PING, PONG, TEXT, frame, upgraded
from tests.web.peer import Frame, Peer, connected, look, post, until

CROWD = 200
MESSAGES_EACH = 50
NOT_BY_NUMBER = ("agenthub_event_loop_lag_seconds", "agenthub_build_info")


async def gauges(hub: RunningHub) -> dict[str, float]:
    """Every gauge of the hub that is not zero."""
    async with hub.session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE agenthub_")}
    kinds = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE ")}
    samples = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {
        name: float(value)
        for name, value in samples
        if (bare := name.partition("{")[0]) in names
        and kinds[bare] == "gauge"
        and bare not in NOT_BY_NUMBER
        and float(value)
    }


class Leftovers:
    """What a hub holds now, to be compared after a day."""

    @classmethod
    async def of(cls, hub: RunningHub, clock: LeapingClock) -> Leftovers:
        await look(hub, "nobody")
        now = cls()
        now.gauges = await gauges(hub)
        now.tables = sizes(hub.app)
        now.timers = clock.pending
        return now

    def __init__(self) -> None:
        self.gauges: dict[str, float] = {}
        self.tables: Counter[str] = Counter()
        self.timers = 0


async def assert_nothing_is_left(hub: RunningHub, clock: LeapingClock, before: Leftovers) -> None:
    await until(hub, lambda: not hub.hub.open_subscriptions)
    await clock.pass_hours(25)
    after = await Leftovers.of(hub, clock)
    assert after.gauges == before.gauges
    assert after.tables == before.tables
    assert after.timers == before.timers


async def talk(peer: Peer, names: list[str], own: str, heard: list[str]) -> None:
    """Send to random others and read, until the hub has accepted all."""
    dice = random.Random(own)
    others = [name for name in names if name != own]
    for number in range(MESSAGES_EACH):
        await peer.say({"to": dice.choice(others), "text": f"{own}:{number}"})
        if number % 10 == 9:
            heard += [f["text"] for f in await peer.sync() if f["type"] == "message"]


@pytest.mark.slow
async def test_each_message_of_a_crowd_is_delivered_once_and_a_day_later_nothing_is_left() -> None:
    clock = LeapingClock()
    names = [f"agent-{number}" for number in range(CROWD)]
    heard: dict[str, list[str]] = {name: [] for name in names}
    async with (
        running_hub(clock=clock) as hub,
        ClientSession(hub.url, connector=TCPConnector(limit=0)) as crowded,
    ):
        before = await Leftovers.of(hub, clock)
        sockets = [await crowded.ws_connect(f"/ws/{name}", autoping=False) for name in names]
        peers = dict(zip(names, (Peer(s, receipts=True) for s in sockets), strict=True))
        for peer in peers.values():
            await peer.next()
        await asyncio.gather(
            *(talk(peer, names, name, heard[name]) for name, peer in peers.items())
        )
        while sum(map(len, heard.values())) < CROWD * MESSAGES_EACH:
            for name, peer in peers.items():
                heard[name] += [f["text"] for f in await peer.sync() if f["type"] == "message"]
        for name, peer in peers.items():
            assert await peer.sync() == []
            assert await look(hub, name) == []
        assert sizes(hub.app) != before.tables
        for peer in peers.values():
            await peer.socket.close()
        await assert_nothing_is_left(hub, clock, before)
    said = Counter(text for texts in heard.values() for text in texts)
    assert said == Counter(f"{name}:{number}" for name in names for number in range(MESSAGES_EACH))
    assert not any(text.startswith(f"{name}:") for name in names for text in heard[name])
    for texts in heard.values():
        for name in names:
            numbers = [int(t.split(":")[1]) for t in texts if t.startswith(f"{name}:")]
            assert numbers == sorted(numbers)


async def test_a_day_after_a_bit_of_everything_nothing_is_left() -> None:
    clock = LeapingClock()
    async with running_hub(clock=clock, rate_limit=1000, rate_burst=1000) as hub:
        before = await Leftovers.of(hub, clock)
        async with (
            connected(hub, "alpha", events="all") as alpha,
            connected(hub, "beta", ack="manual") as beta,
        ):
            await alpha.send("beta", idempotency_key="k")
            await alpha.send("ALL", idempotency_key="k")
            await alpha.send("alhpa", "to nobody we know")
            await post(hub, "gamma", "never read", ttl=5)
            await post(hub, "gamma", "a question never answered", wait=0)
            await alpha.ask({"to": "beta", "text": "ready?", "wait": 30, "idempotency_key": "q"})
            await alpha.ask({"to": "gamma", "text": "and you?", "wait": 300})
            frames = await beta.frames(3)
            await beta.say({"type": "hub.release", "ids": [frames[0]["id"]]})
            await beta.send("alpha", "yes", reply_to=frames[2]["id"])
            await beta.sync()
            await beta.say({"type": "hub.ack", "ids": [one["id"] for one in frames[1:]]})
            await alpha.say("garbage")
            for _ in range(10):
                await clock.advance(30)
                await alpha.sync()
                await beta.sync()
            taking = {"agent_id": "gamma", "ack": "manual"}
            async with hub.session.post("/api/v1/messages/receive", json=taking) as taken:
                assert taken.status == 200
        await assert_nothing_is_left(hub, clock, before)


async def test_the_walk_finds_the_tables_of_every_part() -> None:
    async with running_hub() as hub:
        found = sizes(hub.app).keys()
    assert found >= {
        "Attendance._waiting",
        "Asking._holders",
        "Claims._by_sender",
        "Admission._alarms",
        "Streams._open",
        "MemoryBackend._inboxes",
        "Whereabouts._inboxes",
        "Presence._agents",
        "Roster._events",
        "SimilarIds._answers",
        "TokenBuckets._buckets",
        "Watchers._wakes",
    }


async def test_a_reader_that_thinks_for_40_s_loses_neither_connection_nor_message() -> None:
    clock = LeapingClock()
    texts = [f"{number} {'x' * 500}" for number in range(200)]
    async with running_hub(clock=clock) as hub, upgraded(hub, "thinker") as line:
        await post(hub, "thinker", *texts[:100])
        for _ in range(40):
            await clock.advance(1)
        await post(hub, "thinker", *texts[100:])
        read: list[Frame] = []
        while len(read) < 200:
            kind, data = await line.receive()
            if kind == PING:
                line.send(frame(PONG, data))
            else:
                assert kind == TEXT
                read.append(json.loads(data))
        assert [message["text"] for message in read] == texts
        assert {message["attempt"] for message in read} == {1}
        assert hub.hub.open_subscriptions == 1


@pytest.mark.slow
async def test_nor_does_it_when_the_kernel_holds_what_it_does_not_read() -> None:
    texts = [f"{number} {'x' * 5_000}" for number in range(64)]
    async with running_hub() as hub, upgraded(hub, "thinker", buffer=4096) as line:
        await post(hub, "thinker", *texts)
        # Real time, as it is the kernel that counts here: a full receive buffer is not a dead peer.
        await asyncio.sleep(40)
        assert [json.loads(await line.text())["text"] for _ in texts] == texts

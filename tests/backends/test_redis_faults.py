"""Answers that get lost, readers cut off in between, nodes that overlap: nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import takewhile
from typing import Any

import pytest
from redis.exceptions import ConnectionError as LostError

from agent_hub.core.agent import Agent
from agent_hub.core.bounds import LOOKED_AT_BYTES
from agent_hub.core.limits import Limits
from agent_hub.core.message import Cursor
from agent_hub.queue_backends.redis import hints
from agent_hub.queue_backends.redis.backend import RedisBackend
from agent_hub.redis_way.link import Group
from tests.backends.mail import balance, ids, letter, send, take, take_and_ack, texts
from tests.backends.redis_stores import TemporaryRedis, server
from tests.clock import ManualClock
from tests.patience import PATIENCE

BRIEF = Limits(empty_inbox_seconds=1.0, kept_messages=0)


@pytest.fixture
async def one(clock: ManualClock) -> AsyncIterator[TemporaryRedis]:
    backend = TemporaryRedis(clock, BRIEF)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
async def other(one: TemporaryRedis) -> AsyncIterator[TemporaryRedis]:
    another = one.another()
    await another.open()
    yield another
    await another.close()


def lose_answer(backend: RedisBackend, script: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The connection breaks after Redis has run that script, once. What was lost is noted."""
    link, sha = backend._link, backend._store._scripts[script].sha
    assert link is not None
    exchange, lost = link.exchange, list[str]()

    async def cut_off(groups: Sequence[Group]) -> list[list[Any]]:
        answers = await exchange(groups)
        called = any(words[:2] == ("EVALSHA", sha) for group in groups for words in group)
        if called and not lost:
            lost.append(script)
            raise LostError
        return answers

    monkeypatch.setattr(link, "exchange", cut_off)
    return lost


async def drop(backend: TemporaryRedis, clock: ManualClock) -> None:
    """Let all inboxes be empty for so long that they go."""
    for _ in range(3):
        clock.pass_by(400.0)
        await backend.sweep()


# --- inboxes that go ----------------------------------------------------------------------


@pytest.mark.parametrize("script", ["set_aside", "drop", "fold"])
async def test_what_a_dropped_inbox_counted_is_kept_when_an_answer_is_lost(
    one: TemporaryRedis, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    await send(one, "a", "b")
    await take_and_ack(one)
    lost = lose_answer(one, script, monkeypatch)
    await drop(one, clock)
    totals = await one.totals()
    assert lost == [script]
    assert (totals.inboxes, totals.accepted, totals.acked) == (0, 2, 2)


async def test_what_two_nodes_drop_at_once_is_counted_once(
    one: TemporaryRedis, other: TemporaryRedis, clock: ManualClock
) -> None:
    await send(one, "a", "b")
    await take_and_ack(one)
    epoch, counts, *_ = await one._store.call("totals", "alpha")
    box = (await one._store.ask((("GET", one._store.keys("alpha", "box")),)))[0]
    await drop(one, clock)
    await other._sweeper._drop("alpha", epoch, counts, box)  # it had found the same before
    assert (await one.totals()).accepted == 2


async def test_sums_do_not_step_back_while_an_inbox_goes(
    one: TemporaryRedis,
    other: TemporaryRedis,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await send(one, "a", "b")
    await take_and_ack(one)
    inboxes = other._sweeper._inboxes

    async def after_a_drop() -> list[str]:
        await drop(one, clock)
        return await inboxes()

    monkeypatch.setattr(other._sweeper, "_inboxes", after_a_drop)
    assert (await other.totals()).accepted == 2
    monkeypatch.setattr(other._sweeper, "_inboxes", inboxes)
    await send(one, "c")
    await take_and_ack(one)
    lives = other._sweeper._lives

    async def dropped_after_the_count() -> object:
        counted = await lives()
        await drop(one, clock)
        return counted

    monkeypatch.setattr(other._sweeper, "_lives", dropped_after_the_count)
    assert (await other.totals()).accepted == 3
    monkeypatch.undo()
    assert (await other.totals()).accepted == 3
    await balance(other)


# --- large answers ------------------------------------------------------------------------


def watch_answers(backend: RedisBackend, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The word and the size of the answer of each command, as they come."""
    link, seen = backend._link, list[tuple[str, int]]()
    assert link is not None
    exchange = link.exchange

    async def seen_by(groups: Sequence[Group]) -> list[list[Any]]:
        answers = await exchange(groups)
        for group, told in zip(groups, answers, strict=True):
            for words, answer in zip(group, told, strict=True):
                seen.append((words[0], size_of(answer)))
        return answers

    monkeypatch.setattr(link, "exchange", seen_by)
    return seen


def size_of(answer: Any) -> int:
    if isinstance(answer, list):
        return sum(map(size_of, answer))
    return len(answer) if isinstance(answer, bytes) else 8


async def register(backend: RedisBackend, count: int) -> None:
    """Agents with as much metadata as they may have."""
    metadata = b'{"m":"' + b"x" * 16_000 + b'"}'
    agents = (Agent(agent_id=f"id-{n}", metadata=metadata) for n in range(count))
    await asyncio.gather(*map(backend.put_agent, agents))


async def test_a_large_register_comes_in_pages_and_is_read_by_one_at_a_time(
    one: TemporaryRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(one, 400)
    seen = watch_answers(one, monkeypatch)
    agents = await one.agents()
    assert [agent.agent_id for agent in agents] == [f"id-{n}" for n in range(400)]
    assert max(size for _, size in seen) < 4_000_000
    pages = len(seen)
    for each in await asyncio.gather(*(one.agents() for _ in range(20))):
        assert each == agents
    assert len(seen) == 2 * pages
    some = await one.some_agents(1_000, 1_000_000)
    assert 1 <= len(some) < 400
    assert len(await one.some_agents(10_000, 1 << 40)) == 400


async def test_who_asks_for_the_register_during_a_read_sees_what_was_done_before(
    one: TemporaryRedis,
) -> None:
    await register(one, 200)
    reading = asyncio.ensure_future(one.agents())
    await asyncio.sleep(0)
    given_up = asyncio.ensure_future(one.agents())
    await one.put_agent(Agent(agent_id="late"))
    later = asyncio.ensure_future(one.agents())
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await later)[-1].agent_id == "late"
    assert len(await reading) >= 200


async def test_inboxes_are_counted_some_at_a_time_and_for_all_who_ask_at_once(
    one: TemporaryRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_hub.queue_backends.redis.sweeper.VISITS_AT_ONCE", 3)
    for number in range(10):
        await send(one, "a", to=f"id-{number}")
    link, sizes = one._link, list[int]()
    assert link is not None
    exchange = link.exchange

    async def measured(groups: Sequence[Group]) -> list[list[Any]]:
        sizes.append(len(groups))
        return await exchange(groups)

    monkeypatch.setattr(link, "exchange", measured)
    assert len(await one.backlogs()) == 10
    assert max(sizes) <= 3
    alone, sizes[:] = sum(sizes), []
    for each in await asyncio.gather(*(one.backlogs() for _ in range(20))):
        assert len(each) == 10
    assert sum(sizes) <= 2 * alone


async def test_a_look_gives_no_more_than_one_answer_may_show(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = "x" * 250_000
    one = TemporaryRedis(clock, Limits())
    await one.open()
    for _ in range(2):
        await send(one, *[large] * 30)
        await take_and_ack(one)
    await send(one, "a")
    seen = watch_answers(one, monkeypatch)
    page = await one.look("alpha", Cursor("0000", 0), 1_000)
    assert sum(delivery.message.size for delivery in page.deliveries) <= LOOKED_AT_BYTES
    assert len(page.deliveries) < page.total == 61
    assert max(size for _, size in seen) < LOOKED_AT_BYTES + 100_000
    await one.close()


async def test_a_look_at_a_few_reads_only_a_few(one: TemporaryRedis) -> None:
    await send(one, *["a"] * 100)
    await take(one, limit=1)
    with server(cluster=False).client() as client, client.monitor() as monitor:
        page = await one.look("alpha", None, 3)
        client.echo("the end")
        done = takewhile(lambda said: "the end" not in said["command"], monitor.listen())
        read = [len(said["command"].split()) - 2 for said in done if "HMGET" in said["command"]]
    assert [delivery.message.seq for delivery in page.deliveries] == [1, 2, 3]
    assert (page.total, page.ready) == (100, 99)
    assert read == [3 + 1]  # the first three that are ready, and the one that is held


async def test_a_position_reads_no_messages_and_writes_nothing(
    one: TemporaryRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(one, *["a"] * 100)
    await take(one, limit=1)
    await one.look("alpha", None, 0)
    with server(cluster=False).client() as client:
        client.execute_command("CONFIG", "RESETSTAT")
        page = await one.look("alpha", None, 0)
        calls = client.info("commandstats")
    assert (page.total, page.ready, page.cursor and page.cursor.seq) == (100, 99, 100)
    assert not {"cmdstat_set", "cmdstat_hmget", "cmdstat_hget", "cmdstat_zrange"} & set(calls)


# --- endings ------------------------------------------------------------------------------


async def test_an_ending_that_two_nodes_still_have_is_told_once(
    one: TemporaryRedis,
    other: TemporaryRedis,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await send(one, "a", ttl=1.0)
    clock.pass_by(2.0)
    await one.sweep()
    [ended] = await one.undelivered(10)
    tell = one._endings._tell

    async def told_late(*about: Any) -> list[bytes]:
        await other.notice(ended)
        await other.noted([ended])
        assert len(await take_and_ack(other, "beta")) == 1
        return await tell(*about)

    monkeypatch.setattr(one._endings, "_tell", told_late)
    assert not await one.notice(ended)
    assert await take(one, "beta") == []
    await balance(one)


async def test_who_sweeps_stays_it_between_slices(
    one: TemporaryRedis, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_hub.queue_backends.redis.sweeper.VISITS_AT_ONCE", 1)
    for number in range(3):
        await send(one, "a", to=f"id-{number}", ttl=1.0)
    clock.pass_by(2.0)
    said: list[str] = []
    leads, visit = one._sweeper.leads, one._sweeper._visit

    async def say_leads() -> bool:
        said.append("leads")
        return await leads()

    async def say_visit(inboxes: list[tuple[str, bool]]) -> None:
        said.append("visits")
        await visit(inboxes)

    monkeypatch.setattr(one._sweeper, "leads", say_leads)
    monkeypatch.setattr(one._sweeper, "_visit", say_visit)
    await one.sweep()
    assert said[:6] == ["leads", "visits"] * 3


# --- places and hints ---------------------------------------------------------------------


async def test_a_place_whose_taking_was_given_up_is_left_wholly(one: TemporaryRedis) -> None:
    taking = asyncio.ensure_future(one.occupy("alpha", "stream", lambda: None))
    await asyncio.sleep(0)
    taking.cancel()
    await one.vacate("alpha", "stream")
    await one.caught_up()
    assert one._streams._placed == {}
    assert one._streams._hints._wanted == {}
    await one.occupy("alpha", "another", lambda: None)
    assert await one.renew("alpha", "another")


class SilentAtFirst:
    """A way to the Redis of all tests; `swallow` lets new connections hear nothing."""

    def __init__(self) -> None:
        self.swallow = False
        self.swallowed = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> SilentAtFirst:
        self._door = await asyncio.start_server(self._let_in, "127.0.0.1", 0)
        self.port = self._door.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._door.close()
        self.cut()

    def cut(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self.swallow:
            self.swallowed.set()
            return
        back, forth = await asyncio.open_connection("127.0.0.1", server(cluster=False).port)
        self._writers.append(forth)
        await asyncio.gather(_pass_on(reader, forth), _pass_on(back, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while said := await reader.read(65_536):
            writer.write(said)
    except OSError:
        pass
    writer.close()


async def test_a_listener_that_nobody_lets_in_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "BEGIN_SECONDS", 0.2)
    woken = asyncio.Event()
    async with asyncio.timeout(PATIENCE), SilentAtFirst() as way:
        backend = RedisBackend(f"redis://127.0.0.1:{way.port}/15", prefix="silent")
        await backend.open()
        backend.watch("alpha", woken.set)
        await woken.wait()
        woken.clear()
        way.swallow = True
        way.cut()
        await way.swallowed.wait()
        way.swallow = False
        await woken.wait()  # it listens again: it may have missed a hint
        await backend.close()


async def test_a_hint_that_may_not_be_given_costs_no_transition() -> None:
    redis = server(cluster=False)
    rights = ("~limited:*", "resetchannels", "&limited:*", "+@all")
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">limited", *rights)
        backend = RedisBackend(
            f"redis://limited:limited@127.0.0.1:{redis.port}/0", prefix="limited"
        )
        await backend.open()
        [first] = await send(backend, "a")
        client.execute_command("ACL", "SETUSER", "limited", "resetchannels")
        second = await backend.send(letter("b"))
        await backend.occupy("alpha", "stream", lambda: None)
        deliveries = await take(backend)
        assert texts(deliveries) == ["a", "b"]
        assert ids(deliveries) == [first.message_id, second.message_id]
        await backend.close()
        client.execute_command("ACL", "DELUSER", "limited")

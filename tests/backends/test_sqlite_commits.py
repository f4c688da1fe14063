"""Accepted means committed: what a SQLite store does before it answers, and when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.limits import Limits
from agent_hub.core.mail import State
from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.backends.mail import balance, ids, letter, send, state_of, take, take_and_ack, texts
from tests.backends.sqlite_files import all_written, as_after_a_crash, page_limit, store
from tests.clock import ManualClock, settle


class Slowed(sqlite3.Connection):
    """A connection whose writes wait for a test's word, or fail at it."""

    gate: threading.Event
    broken: bool
    writes: int
    began: threading.Event

    @classmethod
    def hold(cls) -> None:
        """The next write is the first, and waits."""
        cls.began.clear()
        cls.gate.clear()

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith("INSERT"):
            type(self).writes += 1
            self.began.set()
            self.gate.wait(10)
            if self.broken:
                raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *parameters)


@pytest.fixture
def slowed() -> Iterator[type[Slowed]]:
    class OfThisTest(Slowed):
        gate = threading.Event()
        broken = False
        writes = 0
        began = threading.Event()

    OfThisTest.gate.set()
    yield OfThisTest
    OfThisTest.gate.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


def slow_store(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> AbstractAsyncContextManager[SqliteBackend]:
    return store(path, clock, connect=partial(sqlite3.connect, factory=slowed))


async def begun(slowed: type[Slowed]) -> None:
    """The first write waits."""
    await asyncio.to_thread(slowed.began.wait, 10)


async def test_nobody_sees_a_message_and_no_send_returns_before_the_commit(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        slowed.gate.clear()
        woken: list[str] = []
        backend.watch("alpha", lambda: woken.append("alpha"))
        sending = asyncio.ensure_future(backend.send(letter("a")))
        await begun(slowed)
        await asyncio.sleep(0.01)
        assert not sending.done()
        assert await take(backend) == []
        assert (await backend.look("alpha", None, 10)).total == 0
        assert (await backend.totals()).accepted == 0
        assert woken == []
        slowed.gate.set()
        assert (await sending).seq == 1
        assert woken == ["alpha"]
        assert texts(await take(backend)) == ["a"]


async def test_what_gathers_while_a_commit_runs_is_one_commit(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        slowed.gate.clear()
        first = asyncio.ensure_future(backend.send(letter("0")))
        await begun(slowed)
        others = [asyncio.ensure_future(backend.send(letter(f"{n}"))) for n in range(1, 100)]
        await asyncio.sleep(0)
        slowed.gate.set()
        receipts = await asyncio.gather(first, *others)
        assert [receipt.seq for receipt in receipts] == list(range(1, 101))
        assert slowed.writes == 2


async def test_quota_is_taken_before_the_commit(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    limits = Limits(inbox_messages=4)
    connect = partial(sqlite3.connect, factory=slowed)
    async with store(path, clock, limits, connect=connect) as backend:
        slowed.gate.clear()
        sends = [asyncio.ensure_future(backend.send(letter("x"))) for _ in range(5)]
        done, waiting = await asyncio.wait(sends, timeout=0.05)
        assert (len(done), len(waiting)) == (3, 2)  # half of it for one sender
        slowed.gate.set()
        await asyncio.gather(*waiting)
        await asyncio.gather(*done, return_exceptions=True)


async def test_a_failed_commit_gives_back_the_place_and_the_seq(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    limits = Limits(inbox_messages=4)
    connect = partial(sqlite3.connect, factory=slowed)
    async with store(path, clock, limits, connect=connect) as backend:
        await send(backend, "1")
        slowed.broken = True
        for _ in range(3):
            with pytest.raises(BackendUnavailable) as refused:
                await send(backend, "lost")
            assert refused.value.retry_after
        with pytest.raises(BackendUnavailable):
            await backend.ping()
        slowed.broken = False
        [receipt] = await send(backend, "2")
        await backend.ping()
        assert receipt.seq == 2
        assert texts(await take(backend)) == ["1", "2"]
        await balance(backend)
    async with store(path, clock, limits) as backend:
        assert texts(await take(backend)) == ["1", "2"]


async def test_a_failed_commit_keeps_what_was_to_make_way(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    limits = Limits(inbox_messages=2, drop_oldest=True)
    connect = partial(sqlite3.connect, factory=slowed)
    async with store(path, clock, limits, connect=connect) as backend:
        await send(backend, "1", "2")
        slowed.broken = True
        with pytest.raises(BackendUnavailable):
            await send(backend, "3")
        before = texts((await backend.look("alpha", None, 10)).deliveries)
        assert before == ["2"]
        slowed.broken = False
        await send(backend, "3")
        assert texts((await backend.look("alpha", None, 10)).deliveries) == ["3"]
        await balance(backend)


async def test_a_copy_that_comes_again_while_it_makes_way_is_no_second_one(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    limits = Limits(inbox_messages=2, drop_oldest=True)
    connect = partial(sqlite3.connect, factory=slowed)
    async with store(path, clock, limits, connect=connect) as backend:
        copy = letter("to all", sender="gamma", broadcast=True)
        first = await backend.send(copy)
        await backend.send(letter("one", sender="beta"))
        slowed.hold()
        other = asyncio.ensure_future(backend.send(letter("two", sender="delta")))
        await begun(slowed)
        again = asyncio.ensure_future(backend.send(copy))
        await settle()
        assert await state_of(backend, first.message_id) is State.READY
        slowed.gate.set()
        await other
        assert await again == replace(first, replayed=True)
        assert await state_of(backend, first.message_id) is State.DROPPED
        await balance(backend)
    async with store(path, clock, limits) as backend:
        assert texts(await take(backend)) == ["one", "two"]


async def test_without_a_commit_nobody_is_registered(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        slowed.broken = True
        with pytest.raises(BackendUnavailable):
            await backend.put_agent(Agent(agent_id="alpha"))
        assert await backend.agents() == []
        slowed.broken = False
        assert await backend.put_agent(Agent(agent_id="alpha"))


async def test_a_sign_of_life_does_not_undo_the_registration_that_is_being_written(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        await backend.put_agent(Agent(agent_id="alpha", name="before"))
        slowed.hold()
        registering = asyncio.ensure_future(backend.put_agent(Agent(agent_id="alpha", name="new")))
        await begun(slowed)
        await backend.touch_agent("alpha", Status.BUSY)
        slowed.gate.set()
        assert not await registering
        known = await backend.agent("alpha")
    async with store(path, clock) as backend:
        assert await backend.agent("alpha") == known


async def test_a_sign_of_life_does_not_undo_the_end_that_is_being_written(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        await backend.put_agent(Agent(agent_id="alpha"))
        slowed.hold()
        removing = asyncio.ensure_future(backend.remove_agent("alpha"))
        await begun(slowed)
        await backend.touch_agent("alpha")
        slowed.gate.set()
        assert await removing
    async with store(path, clock) as backend:
        assert await backend.agents() == []


async def test_a_registration_that_is_being_written_is_not_over(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        await backend.put_agent(Agent(agent_id="alpha"))
        await clock.advance(Limits().registration_seconds)
        slowed.hold()
        registering = asyncio.ensure_future(backend.put_agent(Agent(agent_id="alpha")))
        await begun(slowed)
        await backend.sweep()
        slowed.gate.set()
        assert not await registering
    async with store(path, clock) as backend:
        assert [agent.agent_id for agent in await backend.agents()] == ["alpha"]


async def test_acks_wait_for_nothing_and_are_written_when_it_is_possible_again(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        await send(backend, "a", "b")
        slowed.broken = True
        assert len(await take_and_ack(backend)) == 2
        with pytest.raises(BackendUnavailable):
            await send(backend, "c")
        slowed.broken = False
        await all_written(backend)
        async with store(as_after_a_crash(path), clock) as after:
            assert await take(after) == []
            assert (await after.totals()).acked == 2


async def test_a_store_that_nobody_writes_to_recovers_by_itself(
    path: Path, clock: ManualClock, slowed: type[Slowed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_hub.queue_backends.group_commit.RETRY_SECONDS", 0.01)
    async with slow_store(path, clock, slowed) as backend:
        slowed.broken = True
        with pytest.raises(BackendUnavailable):
            await send(backend, "a")
        slowed.broken = False
        for _ in range(500):
            await asyncio.sleep(0.01)
            with suppress(BackendUnavailable):
                await backend.ping()
                return
        raise AssertionError("it never came back")


async def test_one_submission_in_a_hundred_calls_is_one_message(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        for number in range(20):
            calls = [backend.send(letter("same", key=f"k{number}")) for _ in range(100)]
            receipts = await asyncio.gather(*calls)
            assert len({receipt.message_id for receipt in receipts}) == 1
            assert sum(not receipt.replayed for receipt in receipts) == 1
        assert (await backend.totals()).accepted == 20


async def test_of_a_failed_submission_in_many_calls_the_next_one_tries(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        submission = letter("same")
        slowed.gate.clear()
        slowed.broken = True
        first = asyncio.ensure_future(backend.send(submission))
        second = asyncio.ensure_future(backend.send(submission))
        await begun(slowed)
        slowed.gate.set()
        with pytest.raises(BackendUnavailable):
            await first
        slowed.broken = False
        await asyncio.wait([second])
        await asyncio.gather(second, return_exceptions=True)
        assert (await backend.send(submission)).seq == 1


async def test_a_send_whose_caller_goes_away_is_all_or_nothing(
    path: Path, clock: ManualClock, slowed: type[Slowed]
) -> None:
    async with slow_store(path, clock, slowed) as backend:
        slowed.gate.clear()
        submission = letter("a")
        sending = asyncio.ensure_future(backend.send(submission))
        await begun(slowed)
        sending.cancel()
        await asyncio.wait([sending])
        again = asyncio.ensure_future(backend.send(submission))
        await asyncio.sleep(0)
        slowed.gate.set()
        assert (await again).replayed
        assert ids(await take(backend)) == [submission.message_id]


async def test_what_cannot_be_encoded_leaves_nobody_waiting(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        with pytest.raises(BackendUnavailable):
            await backend.put_agent(Agent(agent_id="alpha", name="\ud800"))
        assert (await send(backend, "a"))[0].seq == 1
    async with store(path, clock) as backend:
        assert texts(await take(backend)) == ["a"]


# --- a full disk --------------------------------------------------------------------------


async def test_a_full_disk_refuses_and_recovers(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        await send(backend, "before")
        pages = page_limit(backend, 40)
        accepted = await fill(backend)
        assert accepted > 0
        with pytest.raises(BackendUnavailable, match="full"):
            await send(backend, "x" * 10_000, to="beta")
        assert len(await take_and_ack(backend)) == 1 + accepted  # reading goes on
        page_limit(backend, pages)
        [receipt] = await send(backend, "after")
        assert receipt.seq == accepted + 2
    async with store(path, clock) as backend:
        assert texts(await take(backend)) == ["after"]
        await balance(backend)


async def fill(backend: SqliteBackend) -> int:
    """Send until it is refused; how many were accepted."""
    for count in range(1_000):
        try:
            await send(backend, "x" * 10_000)
        except BackendUnavailable:
            return count
    raise AssertionError("the disk never was full")

"""Leases: who may give back, what counts as a failure, when a message is dead."""

from __future__ import annotations

import pytest

from agent_hub.core.limits import Limits
from agent_hub.core.mail import State
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import (
    attempts,
    balance,
    fail,
    ids,
    send,
    state_of,
    stream,
    take,
    texts,
)
from tests.clock import ManualClock

DAY = 24 * 3_600.0


async def test_only_its_holder_gives_a_message_back(backend: QueueBackend) -> None:
    [a, b] = await send(backend, "a", "b")
    await take(backend, lease_id="mine", limit=1)
    await take(backend, lease_id="theirs")
    both = [a.message_id, b.message_id]
    assert await backend.release("alpha", "nobody's", both, failure=True) == 0
    assert await backend.release("alpha", "mine", both, failure=True) == 1
    assert await state_of(backend, a.message_id) is State.READY
    assert await state_of(backend, b.message_id) is State.LEASED


async def test_none_gives_back_all_that_the_lease_holds_and_no_more(backend: QueueBackend) -> None:
    await send(backend, "a", "b", "c")
    await take(backend, lease_id="mine", limit=2)
    await take(backend, lease_id="theirs")
    assert await backend.release("alpha", "mine", None, failure=False) == 2
    assert await backend.release("alpha", "mine", None, failure=False) == 0
    assert texts(await take(backend)) == ["a", "b"]


async def test_an_empty_list_gives_nothing_back(backend: QueueBackend) -> None:
    await send(backend, "a")
    await take(backend, lease_id="mine")
    assert await backend.release("alpha", "mine", [], failure=True) == 0
    assert await take(backend) == []


async def test_a_message_named_twice_is_given_back_once(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    await take(backend, lease_id="mine")
    twice = [receipt.message_id, receipt.message_id]
    assert await backend.release("alpha", "mine", twice, failure=True) == 1
    assert await backend.release("alpha", "mine", twice, failure=True) == 0


async def test_what_was_acked_is_not_given_back(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    await take(backend, lease_id="mine")
    await backend.ack("alpha", [receipt.message_id])
    assert await backend.release("alpha", "mine", [receipt.message_id], failure=False) == 0
    assert await take(backend) == []


async def test_five_failures_are_forgiven_and_the_sixth_is_the_end(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    await fail(backend, 5)
    assert await state_of(backend, receipt.message_id) is State.READY
    await fail(backend, 1)
    assert await state_of(backend, receipt.message_id) is State.DEAD
    assert await take(backend) == []
    [standing] = await backend.standings("beta", receipt.message_id)
    assert standing.attempts == 6
    assert (await backend.totals()).dead == 1
    await balance(backend)


async def test_failures_are_counted_for_each_message_alone(backend: QueueBackend) -> None:
    await send(backend, "old")
    await fail(backend, 5)
    [young] = await send(backend, "young")
    await fail(backend, 1)
    assert texts(await take(backend)) == ["young"]
    assert await state_of(backend, young.message_id) is State.LEASED


async def test_a_release_that_is_no_failure_is_never_the_end(backend: QueueBackend) -> None:
    await send(backend, "a")
    for number in range(30):
        await take(backend, lease_id=f"number-{number}")
        await backend.release("alpha", f"number-{number}", None, failure=False)
    await fail(backend, 5)
    assert attempts(await take(backend)) == [36]


async def test_a_manual_lease_runs_out_at_its_time(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await send(backend, "a")
    await take(backend, seconds=30)
    await clock.advance(29.75)
    assert await take(backend) == []
    await clock.advance(0.25)
    assert attempts(await take(backend)) == [2]


async def test_a_manual_lease_that_ran_out_counts_a_failure(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a")
    for _ in range(5):
        assert len(await take(backend, seconds=10)) == 1
        await clock.advance(10)
    assert await state_of(backend, receipt.message_id) is State.READY
    await take(backend, seconds=10)
    await clock.advance(10)
    assert await state_of(backend, receipt.message_id) is State.DEAD


async def test_what_a_stream_holds_never_runs_out(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await send(backend, "a", ttl=2 * DAY)
    await stream(backend, lease_id="stream's")
    for _ in range(round(DAY / 900)):
        for _ in range(45):
            clock.pass_by(20)
            assert await backend.renew("alpha", "stream")
        await backend.sweep()
    assert await take(backend) == []
    assert await backend.release("alpha", "stream's", None, failure=False) == 1


async def test_what_a_call_took_and_never_gave_back_is_ready_after_a_minute_without_a_failure(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await send(backend, "a", ttl=2 * DAY)
    for _ in range(10):
        assert len(await take(backend, seconds=None)) == 1
        clock.pass_by(59.75)
        assert await take(backend) == []
        clock.pass_by(0.25)
    await fail(backend, 5)
    assert attempts(await take(backend)) == [16]


async def test_a_stream_that_is_replaced_gives_back_what_it_held(backend: QueueBackend) -> None:
    await send(backend, "a", "b", "c")
    [a] = await stream(backend, limit=1)
    [b] = await take(backend, limit=1)
    for _ in range(Limits().failures + 1):  # it is never the message's fault
        await backend.occupy("alpha", "another", lambda: None)
        await backend.occupy("alpha", "stream", lambda: None)
        assert texts(await stream(backend, limit=1)) == ["a"]
    assert await state_of(backend, b.message.id) is State.LEASED
    assert a.attempt == 1
    await backend.occupy("alpha", "another", lambda: None)
    assert texts(await take(backend)) == ["a", "c"]


async def test_a_stream_that_leaves_gives_back_what_it_held(backend: QueueBackend) -> None:
    await send(backend, "a", "b")
    await stream(backend, lease_id="1", limit=1)
    await stream(backend, lease_id="2", limit=1)
    await backend.vacate("alpha", "another")
    assert await take(backend) == []
    await backend.vacate("alpha", "stream")
    assert attempts(await take(backend)) == [2, 2]


async def test_a_stream_without_its_place_gets_nothing(backend: QueueBackend) -> None:
    await send(backend, "a")
    await backend.occupy("alpha", "stream", lambda: None)
    await backend.occupy("alpha", "another", lambda: None)
    late = await backend.lease(
        "alpha", "late", limit=1, max_bytes=1_000, seconds=None, stream_id="stream"
    )
    assert late == []
    assert len(await take(backend)) == 1


async def test_a_lease_of_nothing_shows_what_it_holds(backend: QueueBackend) -> None:
    await send(backend, "a", "b")
    [a] = await take(backend, lease_id="mine", limit=1)
    assert await take(backend, lease_id="mine", limit=0) == [a]
    assert await take(backend, lease_id="none", limit=0) == []
    await backend.ack("alpha", ids([a]))
    assert await take(backend, lease_id="mine", limit=0) == []


async def test_a_step_of_the_wall_clock_ends_no_lease(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await send(backend, "a", ttl=2 * DAY)
    await take(backend, lease_id="mine", seconds=30)
    clock.step_wall(3_600)
    await backend.sweep()
    assert await take(backend) == []


async def test_the_leases_of_one_inbox_run_out_each_at_its_own_time(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await send(backend, "long", "short")
    await take(backend, limit=1, seconds=60)
    await take(backend, limit=1, seconds=10)
    await clock.advance(10)
    assert texts(await take(backend)) == ["short"]
    await clock.advance(50)
    assert texts(await take(backend)) == ["long"]


async def test_a_lease_can_be_prolonged_from_now_on(
    backend: QueueBackend, clock: ManualClock
) -> None:
    receipts = await send(backend, "a", "b")
    await take(backend, lease_id="mine", seconds=30)
    await clock.advance(20)
    assert await backend.extend("alpha", "mine", [receipts[0].message_id], seconds=30) == 1
    await clock.advance(10)
    assert texts(await take(backend)) == ["b"]
    await clock.advance(19.75)
    assert await take(backend) == []
    await clock.advance(0.25)
    assert texts(await take(backend)) == ["a"]


async def test_a_lease_can_be_shortened(backend: QueueBackend, clock: ManualClock) -> None:
    [receipt] = await send(backend, "a")
    await take(backend, lease_id="mine", seconds=300)
    assert await backend.extend("alpha", "mine", [receipt.message_id], seconds=1) == 1
    await clock.advance(1)
    assert texts(await take(backend)) == ["a"]


async def test_only_its_holder_prolongs_a_lease(backend: QueueBackend, clock: ManualClock) -> None:
    [receipt] = await send(backend, "a")
    await take(backend, lease_id="mine", seconds=30)
    assert await backend.extend("alpha", "theirs", [receipt.message_id], seconds=300) == 0
    assert await backend.extend("alpha", "mine", ["m_unknown"], seconds=300) == 0
    await clock.advance(30)
    assert await backend.extend("alpha", "mine", [receipt.message_id], seconds=300) == 0
    assert len(await take(backend)) == 1


async def test_a_stream_s_lease_is_not_made_to_run_out(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a")
    await stream(backend, lease_id="stream's")
    assert await backend.extend("alpha", "stream's", [receipt.message_id], seconds=1) == 0
    await clock.advance(10)
    assert await take(backend) == []


@pytest.mark.parametrize("failure", [True, False])
async def test_a_dead_or_acked_message_stays_so(backend: QueueBackend, failure: bool) -> None:
    [receipt] = await send(backend, "a")
    if failure:
        await fail(backend, 6)
        assert await backend.ack("alpha", [receipt.message_id]) == []
        assert await state_of(backend, receipt.message_id) is State.DEAD
    else:
        deliveries = await take(backend, lease_id="mine")
        await backend.ack("alpha", ids(deliveries))
        assert await backend.release("alpha", "mine", None, failure=True) == 0
        assert await state_of(backend, receipt.message_id) is State.ACKED
    await balance(backend)

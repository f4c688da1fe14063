"""Expiry, and what an inbox still remembers of what is over: kept, cursors, standings."""

from __future__ import annotations

import pytest

from agent_hub.core.limits import Limits
from agent_hub.core.mail import State
from agent_hub.core.message import Cursor
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import (
    attempts,
    balance,
    ids,
    kill,
    letter,
    send,
    state_of,
    take,
    take_and_ack,
    texts,
)
from tests.clock import ManualClock
from tests.conftest import OpenBackend


async def test_a_message_expires_at_its_time_and_not_before(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await clock.advance(9.75)
    assert await state_of(backend, receipt.message_id) is State.READY
    await clock.advance(0.25)
    assert await take(backend) == []
    assert await state_of(backend, receipt.message_id) is State.EXPIRED
    assert (await backend.totals()).expired == 1
    await balance(backend)


async def test_each_message_expires_by_its_own_ttl(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await send(backend, "long", ttl=100)
    await send(backend, "short", ttl=10)
    await send(backend, "middle", ttl=50)
    await clock.advance(10)
    assert texts((await backend.look("alpha", None, 10)).deliveries) == ["long", "middle"]
    await clock.advance(40)
    assert texts((await backend.look("alpha", None, 10)).deliveries) == ["long"]
    await clock.advance(50)
    assert texts((await backend.look("alpha", None, 10)).deliveries) == []


async def test_a_sweep_expires_in_inboxes_that_nobody_touches(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await send(backend, "a", ttl=10)
    await send(backend, "b", to="gamma", ttl=10)
    await clock.advance(10)
    await backend.sweep()
    sums = await backend.totals()
    assert (sums.expired, sums.ready) == (2, 0)


async def test_expiry_is_in_wall_time(backend: QueueBackend, clock: ManualClock) -> None:
    await send(backend, "a", ttl=10)
    clock.step_wall(10)
    assert await take(backend) == []


async def test_a_leased_message_does_not_expire(backend: QueueBackend, clock: ManualClock) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await take(backend, seconds=3_601)
    await clock.advance(3_600)
    await backend.sweep()
    assert await state_of(backend, receipt.message_id) is State.LEASED
    assert len(await backend.ack("alpha", [receipt.message_id])) == 1
    assert await state_of(backend, receipt.message_id) is State.ACKED


@pytest.mark.parametrize("failure", [True, False])
async def test_a_message_whose_time_is_over_expires_on_its_return(
    backend: QueueBackend, clock: ManualClock, failure: bool
) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await take(backend, lease_id="mine")
    await clock.advance(10)
    assert await backend.release("alpha", "mine", None, failure=failure) == 1
    [standing] = await backend.standings("beta", receipt.message_id)
    assert (standing.state, standing.attempts) == (State.EXPIRED, 1)


async def test_a_message_expires_when_its_manual_lease_runs_out_too_late(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await take(backend, seconds=30)
    await clock.advance(30)
    assert await state_of(backend, receipt.message_id) is State.EXPIRED


async def test_what_returned_in_time_expires_at_its_time(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await take(backend, lease_id="mine")
    await backend.sweep()
    await backend.release("alpha", "mine", None, failure=False)
    await clock.advance(10)
    [standing] = await backend.standings("beta", receipt.message_id)
    assert (standing.state, standing.attempts) == (State.EXPIRED, 1)


async def test_what_was_in_hand_when_others_expired_expires_at_its_time(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a", ttl=20)
    await take(backend, lease_id="mine")
    await send(backend, "b", ttl=5)
    await clock.advance(5)
    await backend.sweep()
    await backend.release("alpha", "mine", None, failure=False)
    await clock.advance(15)
    assert await take(backend) == []
    assert await state_of(backend, receipt.message_id) is State.EXPIRED


# --- kept ---------------------------------------------------------------------------------


async def test_acked_messages_newer_than_a_cursor_can_be_read_again(
    backend: QueueBackend,
) -> None:
    receipts = await send(backend, "1", "2", "3", "4")
    await take_and_ack(backend)
    page = await backend.kept("alpha", receipts[1].cursor, 10)
    assert texts(page.deliveries) == ["3", "4"]
    assert attempts(page.deliveries) == [1, 1]
    assert [delivery.state for delivery in page.deliveries] == ["acked", "acked"]
    assert page.cursor == receipts[3].cursor
    assert page.total == 2
    assert page.recovered


async def test_kept_messages_come_oldest_first_whatever_the_order_of_the_acks(
    backend: QueueBackend,
) -> None:
    receipts = await send(backend, "1", "2", "3")
    for receipt in reversed(receipts):
        await backend.ack("alpha", [receipt.message_id])
    page = await backend.kept("alpha", Cursor(receipts[0].epoch, 0), 2)
    assert texts(page.deliveries) == ["1", "2"]
    assert (page.total, page.cursor) == (3, receipts[1].cursor)


async def test_reading_again_settles_nothing_and_skips_nothing(backend: QueueBackend) -> None:
    receipts = await send(backend, "1", "2", "3")
    await backend.ack("alpha", [receipts[1].message_id])
    newest = receipts[2].cursor
    assert texts((await backend.kept("alpha", newest, 10)).deliveries) == []
    assert texts((await backend.look("alpha", newest, 10)).deliveries) == ["1", "3"]
    assert texts(await take(backend)) == ["1", "3"]


async def test_a_look_with_a_cursor_shows_the_kept_ones_in_their_place(
    backend: QueueBackend,
) -> None:
    receipts = await send(backend, "1", "2", "3", "4")
    await backend.ack("alpha", [receipts[0].message_id, receipts[2].message_id])
    await take(backend, limit=1)
    page = await backend.look("alpha", receipts[0].cursor, 10)
    assert texts(page.deliveries) == ["2", "3", "4"]
    assert [delivery.state for delivery in page.deliveries] == ["leased", "acked", "ready"]
    assert texts((await backend.look("alpha", None, 10)).deliveries) == ["2", "4"]


async def test_a_cursor_of_another_epoch_reads_all_that_is_kept_and_is_not_recovered(
    backend: QueueBackend,
) -> None:
    await send(backend, "1", "2")
    await take_and_ack(backend)
    page = await backend.kept("alpha", Cursor("another", 1), 10)
    assert texts(page.deliveries) == ["1", "2"]
    assert not page.recovered


async def test_a_cursor_from_the_future_is_not_recovered(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "1")
    epoch = receipt.epoch
    assert (await backend.look("alpha", Cursor(epoch, 1), 10)).recovered
    assert not (await backend.look("alpha", Cursor(epoch, 2), 10)).recovered


async def test_without_a_cursor_nothing_is_recovered(backend: QueueBackend) -> None:
    await send(backend, "1")
    assert not (await backend.look("alpha", None, 10)).recovered


async def test_the_last_200_acked_messages_are_kept(backend: QueueBackend) -> None:
    receipts = await send(backend, *map(str, range(201)))
    start = Cursor(receipts[0].epoch, 0)
    await backend.ack("alpha", [receipt.message_id for receipt in receipts[:200]])
    page = await backend.kept("alpha", start, 1_000)
    assert (page.total, page.recovered) == (200, True)
    await backend.ack("alpha", [receipts[200].message_id])
    page = await backend.kept("alpha", start, 1_000)
    assert page.total == 200
    assert page.deliveries[0].message.text == "1"
    assert not page.recovered
    assert (await backend.kept("alpha", receipts[0].cursor, 1)).recovered
    assert await state_of(backend, receipts[0].message_id) is State.ACKED


async def test_the_last_acked_are_kept_and_not_the_newest(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(kept_messages=1))
    receipts = await send(backend, "1", "2")
    for receipt in reversed(receipts):
        await backend.ack("alpha", [receipt.message_id])
    page = await backend.kept("alpha", Cursor(receipts[0].epoch, 0), 10)
    assert texts(page.deliveries) == ["1"]
    assert not (await backend.kept("alpha", receipts[0].cursor, 10)).recovered
    assert (await backend.kept("alpha", receipts[1].cursor, 10)).recovered


async def test_what_is_no_longer_kept_stays_a_gap(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(kept_messages=1))
    receipts = await send(backend, "1", "2", "3")
    for receipt in reversed(receipts):
        await backend.ack("alpha", [receipt.message_id])
    recovered = [(await backend.kept("alpha", r.cursor, 10)).recovered for r in receipts]
    assert recovered == [False, False, True]


async def test_a_kept_message_goes_at_its_expiry(backend: QueueBackend, clock: ManualClock) -> None:
    receipts = [*await send(backend, "1", ttl=10), *await send(backend, "2", ttl=20)]
    start = Cursor(receipts[0].epoch, 0)
    await take_and_ack(backend)
    await clock.advance(9.75)
    assert (await backend.kept("alpha", start, 10)).recovered
    await clock.advance(0.25)
    page = await backend.kept("alpha", start, 10)
    assert texts(page.deliveries) == ["2"]
    assert not page.recovered
    assert (await backend.kept("alpha", receipts[0].cursor, 10)).recovered
    assert await state_of(backend, receipts[0].message_id) is State.ACKED
    assert (await backend.totals()).acked == 2
    await balance(backend)
    await clock.advance(10)
    assert (await backend.kept("alpha", start, 10)).deliveries == []


async def test_a_message_acked_after_its_time_is_not_kept(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await take(backend)
    await clock.advance(11)
    await backend.sweep()
    assert len(await backend.ack("alpha", [receipt.message_id])) == 1
    page = await backend.kept("alpha", Cursor(receipt.epoch, 0), 10)
    assert (page.deliveries, page.recovered) == ([], False)
    assert (await backend.totals()).kept == 0


async def test_a_message_that_was_long_in_hand_is_kept_until_its_expiry_only(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt, _] = [*await send(backend, "long", ttl=20), *await send(backend, "short", ttl=5)]
    await take(backend, limit=1)
    await clock.advance(10)
    await backend.sweep()  # the other one expires
    await backend.ack("alpha", [receipt.message_id])
    await clock.advance(9)
    start = Cursor(receipt.epoch, 0)
    assert texts((await backend.kept("alpha", start, 10)).deliveries) == ["long"]
    await clock.advance(1)
    assert texts((await backend.kept("alpha", start, 10)).deliveries) == []


@pytest.mark.parametrize("ending", ["expired", "dead"])
async def test_a_cursor_older_than_what_was_lost_is_not_recovered(
    backend: QueueBackend, clock: ManualClock, ending: str
) -> None:
    receipts = [*await send(backend, "1"), *await send(backend, "lost", ttl=10)]
    await backend.ack("alpha", [receipts[0].message_id])
    if ending == "expired":
        await clock.advance(10)
    else:
        await kill(backend)
    receipts += await send(backend, "3")
    assert not (await backend.kept("alpha", receipts[0].cursor, 10)).recovered
    assert (await backend.kept("alpha", receipts[1].cursor, 10)).recovered
    assert (await backend.kept("alpha", receipts[2].cursor, 10)).recovered


async def test_the_gap_is_as_new_as_the_newest_that_was_lost(
    backend: QueueBackend, clock: ManualClock
) -> None:
    receipts = [*await send(backend, "1", ttl=20), *await send(backend, "2", ttl=10)]
    await clock.advance(10)
    await backend.sweep()
    await clock.advance(10)
    await backend.sweep()
    assert not (await backend.look("alpha", receipts[0].cursor, 10)).recovered
    assert (await backend.look("alpha", receipts[1].cursor, 10)).recovered


# --- what is remembered of what is gone ---------------------------------------------------


async def test_where_a_message_ended_is_remembered_for_an_hour(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await clock.advance(10)
    ended_at = clock.time()
    await backend.sweep()
    await clock.advance(3_599)
    [standing] = await backend.standings("beta", receipt.message_id)
    assert standing.state is State.EXPIRED
    assert (standing.since, standing.accepted_at) == (ended_at, ended_at - 10)
    assert standing.expires_at == ended_at
    await clock.advance(1)
    assert await backend.standings("beta", receipt.message_id) == []


async def test_where_a_message_ended_in_hand_is_remembered_for_an_hour(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a", ttl=10)
    await take(backend, lease_id="mine")
    await clock.advance(20)
    await backend.sweep()
    await backend.release("alpha", "mine", None, failure=False)
    await clock.advance(3_599)
    assert await state_of(backend, receipt.message_id, "beta") is State.EXPIRED
    await clock.advance(1)
    assert await state_of(backend, receipt.message_id, "beta") is None


async def test_where_the_last_200_messages_ended_is_remembered(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(settled_messages=2))
    receipts = await send(backend, "1", "2", "3", ttl=10)
    await clock.advance(10)
    await backend.sweep()
    shown = [await state_of(backend, receipt.message_id, "beta") for receipt in receipts]
    assert shown == [None, State.EXPIRED, State.EXPIRED]


async def test_an_ending_does_not_come_back(backend: QueueBackend, clock: ManualClock) -> None:
    submission = letter("a", ttl=10)
    first = await backend.send(submission)
    deliveries = await take(backend, lease_id="mine")
    await clock.advance(10)
    await backend.release("alpha", "mine", None, failure=False)
    assert (await backend.send(submission)).seq == first.seq
    assert await backend.ack("alpha", ids(deliveries)) == []
    assert await backend.release("alpha", "mine", None, failure=False) == 0
    assert await take(backend) == []
    assert (await backend.totals()).expired == 1

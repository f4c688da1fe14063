"""What a backend promises of a message between its acceptance and its ack."""

from __future__ import annotations

import pytest

from agent_hub.core.limits import Limits
from agent_hub.core.mail import State
from agent_hub.core.message import Cursor, Message
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import (
    attempts,
    balance,
    fail,
    ids,
    letter,
    send,
    state_of,
    take,
    take_and_ack,
    texts,
)
from tests.clock import ManualClock
from tests.conftest import OpenBackend


async def test_an_accepted_message_is_delivered_as_it_was_sent(
    backend: QueueBackend, clock: ManualClock
) -> None:
    submission = letter("Hello", kind="request", payload=b'{"a":1}', reply_to="m_" + "x" * 22)
    submission.draft.traceparent = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    receipt = await backend.send(submission)
    [delivery] = await take(backend)
    assert delivery.message == Message(
        submission.message_id,
        1,
        "beta",
        "alpha",
        "request",
        "Hello",
        b'{"a":1}',
        "m_" + "x" * 22,
        submission.draft.traceparent,
        False,
        clock.time(),
        300.0,
    )
    assert (delivery.attempt, delivery.state) == (1, "leased")
    assert delivery.cursor == receipt.cursor == Cursor(receipt.epoch, 1)
    assert receipt.message_id == submission.message_id
    assert receipt.expires_at == clock.time() + 300.0
    assert not receipt.replayed


async def test_seq_is_dense_in_each_inbox(backend: QueueBackend) -> None:
    to_alpha = await send(backend, "a", "b")
    to_gamma = await send(backend, "c", to="gamma")
    to_alpha += await send(backend, "d", sender="gamma")
    assert [receipt.seq for receipt in to_alpha] == [1, 2, 3]
    assert [receipt.seq for receipt in to_gamma] == [1]
    assert to_alpha[0].epoch == to_alpha[2].epoch != to_gamma[0].epoch


async def test_a_refused_send_takes_no_seq(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=2))
    await send(backend, "a")
    with pytest.raises(Exception, match="places left"):
        await send(backend, "b")
    assert [receipt.seq for receipt in await send(backend, "c", sender="gamma")] == [2]


async def test_first_deliveries_are_in_the_order_of_acceptance(backend: QueueBackend) -> None:
    await send(backend, "1", "2")
    await send(backend, "3", sender="gamma")
    await send(backend, "4")
    assert texts(await take(backend, limit=3)) == ["1", "2", "3"]
    assert texts(await take(backend)) == ["4"]


async def test_a_message_is_leased_to_one_reader_only(backend: QueueBackend) -> None:
    await send(backend, "a", "b")
    assert texts(await take(backend, limit=1)) == ["a"]
    assert texts(await take(backend)) == ["b"]
    assert await take(backend) == []


async def test_what_returns_to_ready_returns_to_its_place(backend: QueueBackend) -> None:
    await send(backend, "1", "2", "3", "4", "5")
    deliveries = await take(backend, lease_id="first", limit=4)
    wanted = ids(deliveries)
    # In no order: the place comes from the message, not from the call.
    for place in (3, 1):
        assert await backend.release("alpha", "first", [wanted[place]], failure=False) == 1
    again = await take(backend)
    assert texts(again) == ["2", "4", "5"]
    assert attempts(again) == [2, 2, 1]


async def test_an_attempt_is_counted_by_each_hand_over(backend: QueueBackend) -> None:
    await send(backend, "a")
    for attempt in range(1, 20):
        lease_id = f"number-{attempt}"
        assert attempts(await take(backend, lease_id=lease_id)) == [attempt]
        await backend.release("alpha", lease_id, None, failure=False)


async def test_a_lease_is_bounded_in_bytes_but_gives_at_least_one(backend: QueueBackend) -> None:
    # With its payload "{}" each message is ten bytes.
    await send(backend, "12345678", "12345678", "12345678")
    assert len(await take(backend, max_bytes=1)) == 1
    assert len(await take(backend, max_bytes=19)) == 1
    await send(backend, "12345678")
    assert len(await take(backend, max_bytes=20)) == 2


async def test_bytes_are_those_of_utf_8(backend: QueueBackend) -> None:
    await send(backend, "ééé", "ééé")
    assert len(await take(backend, max_bytes=15)) == 1


async def test_the_same_lease_again_shows_what_it_still_holds(backend: QueueBackend) -> None:
    await send(backend, "a", "b", "c", "d")
    first = await take(backend, lease_id="one", limit=3)
    assert await take(backend, lease_id="one", limit=3) == first
    await backend.ack("alpha", [first[0].message.id])
    await backend.release("alpha", "one", [first[1].message.id], failure=False)
    assert await take(backend, lease_id="one", limit=3) == first[2:]


async def test_an_ack_settles_whoever_holds_the_message(backend: QueueBackend) -> None:
    [a, b] = await send(backend, "a", "b")
    await take(backend, lease_id="somebody")
    acked = await backend.ack("alpha", [b.message_id, a.message_id])
    assert {one.message_id for one in acked} == {a.message_id, b.message_id}
    assert await take(backend) == []
    assert (await backend.look("alpha", None, 10)).total == 0
    assert await state_of(backend, a.message_id) is State.ACKED


async def test_an_ack_says_when_the_message_was_accepted(
    backend: QueueBackend, clock: ManualClock
) -> None:
    accepted_at = clock.time()
    [receipt] = await send(backend, "a")
    await clock.advance(10)
    [acked] = await backend.ack("alpha", [receipt.message_id])
    assert acked.accepted_at == accepted_at


async def test_an_ack_counts_once(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    await take(backend)
    assert len(await backend.ack("alpha", [receipt.message_id, receipt.message_id])) == 1
    assert await backend.ack("alpha", [receipt.message_id]) == []
    assert (await backend.totals()).acked == 1


async def test_unknown_ids_are_passed_over(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    acked = await backend.ack("alpha", ["m_unknown", receipt.message_id, "", "m_" + "x" * 22])
    assert [one.message_id for one in acked] == [receipt.message_id]
    assert await backend.ack("nobody", [receipt.message_id]) == []


async def test_another_agent_cannot_ack_it(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    await send(backend, "b", to="gamma")
    assert await backend.ack("gamma", [receipt.message_id]) == []
    assert await state_of(backend, receipt.message_id) is State.READY


async def test_a_late_ack_counts(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    await take(backend, lease_id="one")
    await backend.release("alpha", "one", None, failure=False)
    assert len(await backend.ack("alpha", [receipt.message_id])) == 1
    assert await take(backend) == []
    [standing] = await backend.standings("alpha", receipt.message_id)
    assert (standing.state, standing.attempts) == (State.ACKED, 1)


async def test_a_late_ack_counts_when_another_reader_holds_the_message(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [receipt] = await send(backend, "a")
    await take(backend, lease_id="one", seconds=5)
    await clock.advance(5)
    assert attempts(await take(backend, lease_id="two")) == [2]
    assert len(await backend.ack("alpha", [receipt.message_id])) == 1
    assert await backend.release("alpha", "two", None, failure=True) == 0


async def test_a_message_that_was_only_looked_at_can_be_acked(backend: QueueBackend) -> None:
    await send(backend, "a", "b", "c")
    page = await backend.look("alpha", None, 10)
    acked = await backend.ack("alpha", ids(page.deliveries[:2]))
    assert len(acked) == 2
    assert texts(await take(backend)) == ["c"]
    await balance(backend)


async def test_looking_changes_nothing(backend: QueueBackend) -> None:
    await send(backend, "a", "b", "c")
    await take(backend, limit=1)
    for _ in range(2):
        page = await backend.look("alpha", None, 2)
        assert texts(page.deliveries) == ["a", "b"]
        assert [delivery.state for delivery in page.deliveries] == ["leased", "ready"]
        assert attempts(page.deliveries) == [1, 0]
        assert page.total == 3
    assert attempts(await take(backend)) == [1, 1]


async def test_a_look_says_where_its_last_message_stands(backend: QueueBackend) -> None:
    receipts = await send(backend, "a", "b", "c")
    assert (await backend.look("alpha", None, 2)).cursor == receipts[1].cursor
    assert (await backend.look("alpha", None, 10)).cursor == receipts[2].cursor


async def test_an_empty_look_says_the_newest_position(backend: QueueBackend) -> None:
    receipts = await send(backend, "a", "b")
    await take_and_ack(backend)
    page = await backend.look("alpha", None, 10)
    assert (page.deliveries, page.total, page.cursor) == ([], 0, receipts[1].cursor)


async def test_reading_an_inbox_that_does_not_exist_gives_nothing_and_makes_nothing(
    backend: QueueBackend,
) -> None:
    cursor = Cursor("0" * 16, 3)
    assert await take(backend, "nobody") == []
    for page in (
        await backend.look("nobody", None, 10),
        await backend.look("nobody", cursor, 10),
        await backend.kept("nobody", cursor, 10),
    ):
        assert (page.deliveries, page.total, page.cursor) == ([], 0, None)
        assert not page.recovered
    assert await backend.release("nobody", "lease", None, failure=True) == 0
    assert await backend.extend("nobody", "lease", ["m"], seconds=1) == 0
    assert await backend.wait("nobody", "m") is None
    await backend.close_wait("nobody", "m")
    assert (await backend.totals()).inboxes == 0


async def test_to_oneself_is_an_ordinary_message(backend: QueueBackend) -> None:
    await send(backend, "note", sender="alpha", to="alpha")
    assert texts(await take(backend)) == ["note"]


async def test_every_message_is_counted_where_it_stands(
    backend: QueueBackend, clock: ManualClock
) -> None:
    assert (await backend.totals()).oldest_ready_age == 0
    await send(backend, "expires", ttl=10)
    await clock.advance(10)
    await backend.sweep()
    await send(backend, "dies")
    await fail(backend, 6)
    await send(backend, "acked", "leased")
    [acked] = await take(backend, limit=1)
    await take(backend)
    await backend.ack("alpha", [acked.message.id])
    await send(backend, "ready")
    await clock.advance(1)
    await send(backend, "ready", to="gamma")
    sums = await backend.totals()
    assert (sums.accepted, sums.acked, sums.expired, sums.dead, sums.dropped) == (6, 1, 1, 1, 0)
    assert (sums.ready, sums.leased, sums.kept, sums.inboxes) == (2, 1, 1, 2)
    assert sums.oldest_ready_age == 1


async def test_where_a_message_stands_is_told_with_its_times(
    backend: QueueBackend, clock: ManualClock
) -> None:
    accepted_at = clock.time()
    [receipt] = await send(backend, "a")
    await clock.advance(2)
    [standing] = await backend.standings("beta", receipt.message_id)
    assert (standing.recipient, standing.state, standing.attempts) == ("alpha", State.READY, 0)
    assert (standing.accepted_at, standing.expires_at) == (accepted_at, accepted_at + 300)
    await take(backend, lease_id="one")
    [standing] = await backend.standings("alpha", receipt.message_id)
    assert (standing.state, standing.attempts) == (State.LEASED, 1)
    await backend.release("alpha", "one", None, failure=False)
    [standing] = await backend.standings("alpha", receipt.message_id)
    assert (standing.state, standing.attempts) == (State.READY, 1)
    await take_and_ack(backend)
    acked_at = clock.time()
    await clock.advance(3)
    [standing] = await backend.standings("beta", receipt.message_id)
    assert (standing.state, standing.attempts) == (State.ACKED, 2)
    assert standing.since == acked_at


async def test_where_a_message_stands_is_told_to_nobody_else(backend: QueueBackend) -> None:
    [receipt] = await send(backend, "a")
    await send(backend, "b", to="gamma")
    assert await backend.standings("gamma", receipt.message_id) == []
    assert await backend.standings("beta", "m_unknown") == []


async def test_a_sender_sees_every_copy_of_a_broadcast_and_a_recipient_its_own(
    backend: QueueBackend,
) -> None:
    copy = letter("all", broadcast=True)
    await backend.send(copy)
    await backend.send(letter("all", to="gamma", broadcast=True, message_id=copy.message_id))
    await take_and_ack(backend, "gamma")
    shown = await backend.standings("beta", copy.message_id)
    assert {one.recipient: one.state for one in shown} == {
        "alpha": State.READY,
        "gamma": State.ACKED,
    }
    [own] = await backend.standings("gamma", copy.message_id)
    assert own.recipient == "gamma"


async def test_a_copy_of_a_broadcast_is_a_message_like_any_other(backend: QueueBackend) -> None:
    copy = letter("all", broadcast=True)
    first = await backend.send(copy)
    second = await backend.send(
        letter("all", to="gamma", broadcast=True, message_id=copy.message_id)
    )
    assert (first.seq, second.seq) == (1, 1)
    [delivery] = await take(backend, "gamma")
    assert delivery.message.broadcast
    assert delivery.message.id == copy.message_id
    assert delivery.message.to == "gamma"

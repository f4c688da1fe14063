"""An open stream: what is owed, within a credit, until it is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_hub.core.agent import Agent
from agent_hub.core.errors import BackendUnavailable, Forbidden, Invalid
from agent_hub.core.hub import Hub
from agent_hub.core.mail import State, WaitState
from agent_hub.core.message import Cursor, Delivery
from agent_hub.core.principal import ORDINARY, Principal
from agent_hub.core.queue_backend import RENEW_SECONDS, QueueBackend
from agent_hub.core.subscription import BATCH_BYTES, Subscription
from tests.backends.factories import after_its_end
from tests.clock import ManualClock, settle
from tests.core.calls import ANYONE, Counted, away, cancel, draft, receive, send, soon, texts
from tests.core.conftest import OpenHub


async def open_stream(hub: Hub, agent_id: str = "alpha", **options: Any) -> Subscription:
    return await hub.subscribe(ANYONE, agent_id, **options)


async def read(stream: Subscription) -> list[Delivery]:
    """The next batch, written to the reader."""
    batch = await soon(stream.batch())
    if not batch.done():
        batch.cancel()
        return []
    stream.written(batch.result())
    return batch.result()


async def state_of(hub: Hub, delivery: Delivery) -> State:
    message = delivery.message
    return (await hub.standings(ANYONE, message.to, message.id))[0].state


async def receipt(stream: Subscription) -> None:
    """The reader proves that it read all that was written."""
    number = stream.cover()
    assert number is not None
    await stream.confirm(number)


async def test_a_stream_gives_what_is_owed_and_then_what_comes(hub: Hub) -> None:
    await send(hub, "a")
    await send(hub, "b")
    stream = await open_stream(hub)
    assert texts(await read(stream)) == ["a", "b"]
    batch = await soon(stream.batch())
    assert not batch.done()
    await send(hub, "c")
    await settle()
    assert texts(batch.result()) == ["c"]
    assert stream.in_flight == 3


async def test_opening_a_stream_registers_its_agent(hub: Hub) -> None:
    await open_stream(hub)
    agent, _ = await hub.agent(ANYONE, "alpha")
    assert agent.name == "alpha"
    assert hub.open_subscriptions == 1


async def test_a_stream_says_where_it_begins(hub: Hub) -> None:
    assert (await open_stream(hub, "gamma")).cursor is None
    sent = await send(hub)
    stream = await open_stream(hub)
    # Before what it is owed, so that resuming from there passes over nothing.
    assert stream.cursor == Cursor(sent.receipt.epoch, sent.receipt.seq - 1)
    assert not stream.recovered


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"agent_id": "ALL"}, "/agent_id"),
        ({"max_in_flight": 0}, "?max_in_flight"),
        ({"max_in_flight": 1_001}, "?max_in_flight"),
        ({"since": "nonsense"}, "?since"),
    ],
)
async def test_a_faulty_subscription_is_refused(
    hub: Hub, options: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await open_stream(hub, **options)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert await hub.agents(ANYONE) == []


async def test_nobody_opens_the_stream_of_another(hub: Hub) -> None:
    with pytest.raises(Forbidden):
        await hub.subscribe(
            Principal(via="websocket", agents=frozenset({"beta"}), scopes=ORDINARY), "alpha"
        )


async def test_a_stream_that_could_not_be_opened_takes_no_place(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(backend, "look", away)
        with pytest.raises(BackendUnavailable):
            await open_stream(hub)
    assert hub.open_subscriptions == 0
    await send(hub)
    assert len(await read(await open_stream(hub))) == 1


# --- credit -------------------------------------------------------------------------------


async def test_a_stream_holds_no_more_than_its_credit(hub: Hub) -> None:
    for number in range(5):
        await send(hub, f"{number}")
    stream = await open_stream(hub, max_in_flight=2)
    first = await read(stream)
    assert texts(first) == ["0", "1"]
    assert await read(stream) == []
    await stream.ack([first[0].message.id])
    assert texts(await read(stream)) == ["2"]
    assert await read(stream) == []
    assert (await hub.totals()).leased == 2


async def test_64_is_the_credit_of_a_stream_that_names_none(hub: Hub) -> None:
    for _ in range(70):
        await send(hub)
    assert len(await read(await open_stream(hub))) == 64


async def test_a_batch_is_bounded_in_bytes_and_the_next_follows_at_once(hub: Hub) -> None:
    for _ in range(6):
        await send(hub, "x" * (BATCH_BYTES // 4 - 2))
    stream = await open_stream(hub)
    assert [len(await read(stream)) for _ in range(3)] == [4, 2, 0]


async def test_an_ack_wakes_a_reader_that_used_up_its_credit(hub: Hub) -> None:
    stream = await open_stream(hub, max_in_flight=1)
    await send(hub, "a")
    await send(hub, "b")
    [delivery] = await read(stream)
    batch = await soon(stream.batch())
    assert not batch.done()
    await stream.ack([delivery.message.id])
    await settle()
    assert texts(batch.result()) == ["b"]


# --- receipts -----------------------------------------------------------------------------


async def test_a_receipt_acks_all_that_was_written_before_it(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    stream = await open_stream(hub)
    await send(hub, "a")
    first = await read(stream)
    await send(hub, "b")
    second = await read(stream)
    number = stream.cover()
    assert number is not None
    await send(hub, "c")
    third = await read(stream)
    await stream.confirm(number)
    states = [await state_of(hub, delivery) for delivery in first + second + third]
    assert states == [State.ACKED, State.ACKED, State.LEASED]
    assert stream.in_flight == 1
    assert metrics.counts["acked auto"] == 2


async def test_one_receipt_at_a_time(hub: Hub) -> None:
    stream = await open_stream(hub)
    await send(hub)
    await read(stream)
    first = stream.cover()
    assert first is not None
    await send(hub)
    await read(stream)
    assert stream.cover() is None
    await stream.confirm(first)
    second = stream.cover()
    assert second is not None
    assert second > first
    await stream.confirm(second)
    assert stream.in_flight == 0
    assert stream.cover() is None


async def test_what_was_not_written_is_not_covered(hub: Hub) -> None:
    stream = await open_stream(hub)
    assert stream.cover() is None
    await send(hub)
    batch = await stream.batch()
    assert stream.cover() is None
    stream.written(batch)
    assert stream.cover() is not None


async def test_an_unknown_receipt_acks_nothing(hub: Hub) -> None:
    stream = await open_stream(hub)
    await send(hub)
    [delivery] = await read(stream)
    number = stream.cover()
    assert number is not None
    for wrong in (number + 1, 0, -1):
        await stream.confirm(wrong)
    assert await state_of(hub, delivery) is State.LEASED
    await stream.confirm(number)
    await stream.confirm(number)
    assert await state_of(hub, delivery) is State.ACKED


async def test_a_reader_that_proves_nothing_keeps_what_it_has(hub: Hub, clock: ManualClock) -> None:
    stream = await open_stream(hub)
    await send(hub)
    [delivery] = await read(stream)
    await clock.advance(3_600)
    assert await state_of(hub, delivery) is State.LEASED
    await receipt(stream)
    assert await state_of(hub, delivery) is State.ACKED


async def test_a_stream_without_receipts_covers_nothing(hub: Hub) -> None:
    stream = await open_stream(hub, receipts=False)
    await send(hub)
    await read(stream)
    assert stream.cover() is None


# --- by hand ------------------------------------------------------------------------------


async def test_a_reader_acks_by_id(open_hub: OpenHub, metrics: Counted) -> None:
    hub = await open_hub()
    stream = await open_stream(hub, receipts=False)
    await send(hub, "a")
    await send(hub, "b")
    first, second = await read(stream)
    await stream.ack([second.message.id, "m_unknown"])
    assert await state_of(hub, first) is State.LEASED
    assert await state_of(hub, second) is State.ACKED
    assert metrics.counts["acked manual"] == 1


async def test_a_reader_gives_back_by_id_and_it_is_a_failure(hub: Hub) -> None:
    stream = await open_stream(hub, receipts=False)
    await send(hub)
    for attempt in range(1, 7):
        [delivery] = await read(stream)
        assert delivery.attempt == attempt
        await stream.release([delivery.message.id, "m_unknown"])
        assert stream.in_flight == 0
        assert await state_of(hub, delivery) is (State.READY if attempt < 6 else State.DEAD)
    assert await read(stream) == []


async def test_what_was_given_back_returns_to_its_place(hub: Hub) -> None:
    stream = await open_stream(hub, receipts=False, max_in_flight=3)
    for number in range(5):
        await send(hub, f"{number}")
    deliveries = await read(stream)
    await stream.release([delivery.message.id for delivery in deliveries[1:]])
    assert texts(await read(stream)) == ["1", "2"]


async def test_a_late_ack_of_what_another_stream_holds_counts(hub: Hub) -> None:
    old = await open_stream(hub, receipts=False)
    await send(hub)
    [delivery] = await read(old)
    new = await open_stream(hub, receipts=False)
    assert len(await read(new)) == 1
    await old.ack([delivery.message.id])
    assert await state_of(hub, delivery) is State.ACKED


# --- the end ------------------------------------------------------------------------------


async def test_what_was_in_flight_at_the_end_comes_again_unblamed(hub: Hub) -> None:
    for number in range(3):
        await send(hub, f"{number}")
    for attempt in range(1, 10):
        stream = await open_stream(hub)
        batch = await read(stream)
        assert [(d.message.text, d.attempt) for d in batch] == [
            ("0", attempt),
            ("1", attempt),
            ("2", attempt),
        ]
        stream.cover()  # on its way, and nobody answered: a close is no receipt
        await stream.close()
        await stream.close()
    assert hub.open_subscriptions == 0


async def test_an_acked_message_does_not_come_again(hub: Hub) -> None:
    await send(hub, "a")
    await send(hub, "b")
    stream = await open_stream(hub)
    first, _ = await read(stream)
    await stream.ack([first.message.id])
    await stream.close()
    assert texts(await read(await open_stream(hub))) == ["b"]


async def test_a_closed_stream_gives_nothing_more(hub: Hub) -> None:
    stream = await open_stream(hub)
    batch = await soon(stream.batch())
    await stream.close()
    assert await batch == []
    await send(hub)
    assert await stream.batch() == []
    assert len((await receive(hub)).deliveries) == 1


async def test_the_end_of_a_stream_leaves_what_is_in_flight_until_it_is_closed(hub: Hub) -> None:
    stream = await open_stream(hub)
    await send(hub)
    [delivery] = await read(stream)
    stream.end()
    assert await stream.batch() == []
    assert await state_of(hub, delivery) is State.LEASED
    await receipt(stream)
    await stream.close()
    assert await state_of(hub, delivery) is State.ACKED


async def test_a_second_stream_takes_over(hub: Hub) -> None:
    old = await open_stream(hub)
    await send(hub, "a")
    await read(old)
    batch = await soon(old.batch())
    new = await open_stream(hub)
    assert await batch == []
    assert (old.replaced, new.replaced) == (True, False)
    await old.close()
    assert hub.open_subscriptions == 1
    [delivery] = await read(new)
    assert (delivery.message.text, delivery.attempt) == ("a", 2)
    await send(hub, "b")
    assert texts(await read(new)) == ["b"]


async def test_a_stream_on_another_hub_is_replaced_too(hub: Hub, backend: QueueBackend) -> None:
    stream = await open_stream(hub)
    await backend.occupy("alpha", "another", lambda: None)
    assert await stream.batch() == []
    assert stream.replaced


async def test_a_stream_whose_hint_was_lost_learns_of_its_replacement_when_it_renews(
    hub: Hub, backend: QueueBackend, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def elsewhere(agent_id: str, stream_id: str) -> bool:
        return False

    stream = await open_stream(hub)
    monkeypatch.setattr(backend, "renew", elsewhere)
    await clock.advance(RENEW_SECONDS)
    assert await stream.batch() == []
    assert stream.replaced


async def test_a_stream_that_closes_while_the_store_is_away_gives_back_when_it_returns(
    hub: Hub, backend: QueueBackend, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in "ab":
        await send(hub, text)
    stream = await open_stream(hub, max_in_flight=1)
    await read(stream)
    with monkeypatch.context() as broken:
        broken.setattr(backend, "vacate", away)
        await stream.close()
        await clock.advance(3)
        assert texts((await receive(hub)).deliveries) == ["b"]
    await clock.advance(1)
    assert texts((await receive(hub)).deliveries) == ["a"]


async def test_what_was_written_while_the_store_went_away_is_acked_when_it_returns(
    hub: Hub, backend: QueueBackend, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(hub, "a")
    with monkeypatch.context() as broken:
        broken.setattr(backend, "ack", away)
        assert texts((await receive(hub)).deliveries) == ["a"]
        await clock.advance(3)
        assert (await backend.totals()).acked == 0
    await clock.advance(1)
    assert (await backend.totals()).acked == 1


async def test_credit_that_was_given_back_by_another_process_is_found_when_the_stream_polls(
    backend: QueueBackend, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "poll_seconds", 5.0, raising=False)
    await backend.open()
    here, there = Hub(backend, clock), Hub(backend, clock)
    await here.start()
    for text in "abc":
        await send(here, text)
    stream = await open_stream(here, max_in_flight=2, receipts=False)
    first = await read(stream)
    assert texts(first) == ["a", "b"]
    batch = await soon(stream.batch())
    await there.settle(ANYONE, "alpha", ack=[first[0].message.id])
    await clock.advance(3)
    assert not batch.done()
    await clock.advance(3)
    assert texts(batch.result()) == ["c"]
    assert stream.in_flight == 2
    await here.stop()


async def test_a_reader_whose_hint_was_lost_finds_its_mail_by_looking(
    deaf_hub: Hub, clock: ManualClock, metrics: Counted
) -> None:
    stream = await open_stream(deaf_hub)
    batch = await soon(stream.batch())
    taking = await soon(receive(deaf_hub, "gamma", wait=50))
    await clock.advance(20)
    assert not batch.done()
    await send(deaf_hub, "a")
    await send(deaf_hub, "b", to="gamma")
    await clock.advance(6)
    assert texts(batch.result()) == ["a"]
    assert texts(taking.result().deliveries) == ["b"]
    assert metrics.counts["woken poll"] == 2
    assert metrics.counts["woken hint"] == 0


async def test_a_stream_ends_when_the_store_began_its_inbox_anew(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(hub, "a")
    stream = await open_stream(hub)
    await read(stream)
    lease = backend.lease

    async def reborn(*args: Any, **options: Any) -> list[Delivery]:
        deliveries = await lease(*args, **options)
        for delivery in deliveries:
            delivery.epoch = "another"
        return deliveries

    monkeypatch.setattr(backend, "lease", reborn)
    await send(hub, "b")
    assert await stream.batch() == []
    assert (stream.epoch_changed, stream.replaced) == (True, False)
    await stream.close()
    assert (await backend.totals()).ready == 2


async def test_a_draining_hub_ends_every_stream(hub: Hub) -> None:
    streams = [await open_stream(hub, agent_id) for agent_id in ("alpha", "beta")]
    batches = [await soon(stream.batch()) for stream in streams]
    await hub.drain()
    assert [await batch for batch in batches] == [[], []]
    assert not any(stream.replaced for stream in streams)


async def test_a_stream_that_opens_while_the_hub_drains_ends_too(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch_agent = backend.touch_agent
    answered = asyncio.Event()

    async def slow(*args: Any) -> Agent | None:
        await answered.wait()
        return await touch_agent(*args)

    monkeypatch.setattr(backend, "touch_agent", slow)
    opening = await soon(open_stream(hub))
    await hub.drain()
    answered.set()
    assert (await soon((await opening).batch())).done()


async def test_a_stopped_hub_has_given_everything_back(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.open()
    hub = Hub(backend, clock)
    await hub.start()
    await send(hub)
    await read(await open_stream(hub))
    await hub.stop()
    async with after_its_end(backend) as store:
        sums = await store.totals()
    assert (sums.ready, sums.leased) == (1, 0)


# --- since --------------------------------------------------------------------------------


async def test_since_gives_the_kept_ones_again_then_what_is_owed_then_what_comes(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    stream = await open_stream(hub)
    for number in range(3):
        await send(hub, f"{number}")
    seen = await read(stream)
    await receipt(stream)
    await stream.close()
    await send(hub, "3")
    stream = await open_stream(hub, since=str(seen[0].cursor))
    assert stream.recovered
    again = await read(stream)
    assert [(d.message.text, d.attempt) for d in again] == [("1", 2), ("2", 2)]
    assert texts(await read(stream)) == ["3"]
    await send(hub, "4")
    assert texts(await read(stream)) == ["4"]
    assert stream.in_flight == 2  # what was acked is not owed again
    assert metrics.counts["redelivered rest"] == 2
    await receipt(stream)
    assert (await hub.totals()).acked == 5


async def test_since_never_skips_what_is_owed(hub: Hub) -> None:
    for number in range(3):
        await send(hub, f"{number}")
    position = await hub.position(ANYONE, "alpha")
    stream = await open_stream(hub, since=str(position))
    assert stream.recovered
    assert texts(await read(stream)) == ["0", "1", "2"]


async def test_since_says_when_something_is_missing(hub: Hub, clock: ManualClock) -> None:
    await send(hub, "seen")
    cursor = (await receive(hub)).cursor
    await send(hub, "lost", ttl=1.0)
    await clock.advance(2)
    assert not (await open_stream(hub, since=str(cursor))).recovered
    assert not (await open_stream(hub, since="ffff:1")).recovered


# --- an answer on a stream ----------------------------------------------------------------


async def answer_on(hub: Hub, stream: Subscription) -> Delivery:
    """The answer to a question that was asked on this stream, as a delivery of it."""
    sent, question = await hub.ask(ANYONE, draft("?", sender="alpha", to="beta"), 60)
    await send(hub, "!", reply_to=sent.receipt.message_id)
    wait = await question.answered()
    assert wait.state is WaitState.REPLIED
    assert wait.delivery is not None
    await stream.adopt(wait.delivery, question)
    return wait.delivery


async def test_an_answer_is_acked_by_the_receipt_that_covers_it(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    stream = await open_stream(hub)
    answer = await answer_on(hub, stream)
    assert (stream.in_flight, hub.open_waits) == (1, 1)
    await receipt(stream)
    assert await state_of(hub, answer) is State.ACKED
    assert (stream.in_flight, hub.open_waits) == (0, 0)
    assert metrics.counts["wait replied"] == 1
    assert metrics.counts["acked auto"] == 1


async def test_an_answer_to_a_stream_that_closed_meanwhile_is_ready_again(hub: Hub) -> None:
    stream = await open_stream(hub)
    await stream.close()
    answer = await answer_on(hub, stream)
    assert await state_of(hub, answer) is State.READY
    assert hub.open_waits == 0


async def test_an_answer_is_acked_by_hand(hub: Hub) -> None:
    stream = await open_stream(hub, receipts=False)
    answer = await answer_on(hub, stream)
    await stream.ack([answer.message.id])
    assert await state_of(hub, answer) is State.ACKED
    assert hub.open_waits == 0


async def test_an_answer_is_held_as_long_as_the_stream(hub: Hub, clock: ManualClock) -> None:
    stream = await open_stream(hub, receipts=False)
    answer = await answer_on(hub, stream)
    await clock.advance(200)
    assert await state_of(hub, answer) is State.LEASED
    assert await read(stream) == []
    await stream.close()
    assert await state_of(hub, answer) is State.READY


async def test_an_answer_that_was_given_back_is_an_ordinary_message(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    stream = await open_stream(hub, receipts=False)
    answer = await answer_on(hub, stream)
    await stream.release([answer.message.id])
    assert hub.open_waits == 0
    assert metrics.counts["wait gone"] == 1
    [delivery] = await read(stream)
    assert (delivery.message.text, delivery.attempt) == ("!", 2)


async def test_an_answer_that_nobody_proved_to_have_read_comes_again(hub: Hub) -> None:
    stream = await open_stream(hub)
    await answer_on(hub, stream)
    await stream.close()
    assert hub.open_waits == 0
    [delivery] = await read(await open_stream(hub))
    assert (delivery.message.text, delivery.attempt) == ("!", 2)


async def test_an_answer_uses_credit(hub: Hub) -> None:
    stream = await open_stream(hub, max_in_flight=1)
    answer = await answer_on(hub, stream)
    await send(hub, "more")
    assert await read(stream) == []
    await stream.ack([answer.message.id])
    assert texts(await read(stream)) == ["more"]


# --- a store that is away -----------------------------------------------------------------


async def test_what_was_leased_by_a_call_without_an_answer_is_leased_by_the_next(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await open_stream(hub)
    lease = backend.lease

    async def lost(*args: Any, **options: Any) -> None:
        await lease(*args, **options)
        raise BackendUnavailable("the answer was lost")

    await send(hub, "a")
    with monkeypatch.context() as broken:
        broken.setattr(backend, "lease", lost)
        assert await read(stream) == []
    await send(hub, "b")
    assert texts(await read(stream)) == ["a"]
    assert texts(await read(stream)) == ["b"]


async def test_what_was_leased_by_a_call_that_was_cut_off_is_ready_at_the_end(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await open_stream(hub)
    lease = backend.lease

    async def never(*args: Any, **options: Any) -> None:
        await lease(*args, **options)
        await asyncio.Event().wait()

    await send(hub)
    monkeypatch.setattr(backend, "lease", never)
    await cancel(await soon(stream.batch()))
    assert (await hub.totals()).leased == 1
    await stream.close()
    assert (await hub.totals()).leased == 0


async def test_what_could_not_be_given_back_as_a_failure_is_given_back_at_the_end(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await open_stream(hub, receipts=False)
    await send(hub)
    [delivery] = await read(stream)
    with monkeypatch.context() as broken:
        broken.setattr(backend, "release", away)
        with pytest.raises(BackendUnavailable):
            await stream.release([delivery.message.id])
    assert stream.in_flight == 1
    await stream.close()
    assert await state_of(hub, delivery) is State.READY

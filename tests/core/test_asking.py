"""Ask and wait: one call that sends a question and waits for the one message that answers it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent_hub.core.errors import (
    BackendUnavailable,
    IdempotencyMismatch,
    Invalid,
    TooManyWaits,
    WaitForSelf,
)
from agent_hub.core.hub import Hub
from agent_hub.core.mail import Receipt, State, Submission, Wait, WaitState
from agent_hub.core.queue_backend import QueueBackend
from tests.clock import ManualClock, settle
from tests.core.calls import (
    ANYONE,
    Counted,
    away,
    cancel,
    draft,
    receive,
    register,
    send,
    soon,
    texts,
)
from tests.core.conftest import OpenHub

KEY: dict[str, Any] = {"idempotency_key": "k"}


async def ask(
    hub: Hub,
    text: str = "ready?",
    *,
    sender: str = "beta",
    to: str = "alpha",
    timeout: float = 60,
    written: bool = True,
    **fields: Any,
) -> Wait:
    """Ask as a door does: beta asks alpha, and the answer reaches beta's client or does not."""
    question = draft(text, sender=sender, to=to, ttl=3_600.0, **fields)
    _, asked = await hub.ask(ANYONE, question, timeout)
    async with asked:
        wait = await asked.answered()
        asked.taken = written
        return wait


async def asking(hub: Hub, text: str = "ready?", **options: Any) -> asyncio.Task[Wait]:
    return await soon(ask(hub, text, **options))


async def reply(hub: Hub, to_message: str | None, text: str = "yes", **fields: Any) -> None:
    await send(hub, text, **{"sender": "alpha", "to": "beta", "reply_to": to_message, **fields})
    await settle()


async def asked_of(hub: Hub, agent_id: str = "alpha") -> str:
    """What somebody is asked: it reads the question, and answers by this id."""
    [delivery] = (await receive(hub, agent_id)).deliveries
    return delivery.message.id


async def asked_first(hub: Hub, agent_id: str = "alpha") -> str:
    """The oldest of what somebody is asked."""
    return (await receive(hub, agent_id)).deliveries[0].message.id


def words(wait: Wait) -> str:
    assert wait.delivery is not None
    return wait.delivery.message.text


async def test_a_question_is_a_message_and_its_reply_the_answer(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    call = await asking(hub)
    question_id = await asked_of(hub)
    assert metrics.counts["waits"] == hub.open_waits == 1
    await reply(hub, question_id)
    wait = call.result()
    assert (wait.state, wait.question_id, words(wait)) == (WaitState.REPLIED, question_id, "yes")
    assert metrics.counts["waits"] == hub.open_waits == 0
    assert metrics.counts["wait replied"] == 1
    assert metrics.counts["acked auto"] == 2  # the question, and the answer
    assert (await receive(hub, "beta")).deliveries == []


async def test_the_sender_is_told_of_the_question_before_its_answer(hub: Hub) -> None:
    await register(hub, "alpha")
    sent, question = await hub.ask(ANYONE, draft(), 60)
    assert sent.receipt.message_id == question.question_id
    assert sent.receipt.recipient is not None
    await question.close()


async def test_a_model_that_forgets_to_say_what_it_answers_still_answers(hub: Hub) -> None:
    call = await asking(hub)
    await reply(hub, None, "yes, I am")
    assert words(call.result()) == "yes, I am"


async def test_a_timeout_is_a_result(
    open_hub: OpenHub, metrics: Counted, clock: ManualClock
) -> None:
    hub = await open_hub()
    call = await asking(hub, timeout=60)
    await clock.advance(59.75)
    assert not call.done()
    await clock.advance(0.25)
    wait = call.result()
    assert (wait.state, wait.delivery) == (WaitState.PENDING, None)
    assert metrics.counts["wait pending"] == 1
    assert metrics.counts["waits"] == 0


async def test_a_reply_that_comes_late_is_an_ordinary_message(hub: Hub, clock: ManualClock) -> None:
    call = await asking(hub, timeout=10)
    question_id = await asked_of(hub)
    await clock.advance(10)
    assert call.result().state is WaitState.PENDING
    await reply(hub, question_id, "late")
    assert texts((await receive(hub, "beta")).deliveries) == ["late"]


async def test_a_timeout_of_0_sends_and_does_not_wait(hub: Hub) -> None:
    call = await asking(hub, timeout=0)
    assert call.result().state is WaitState.PENDING
    assert texts((await receive(hub)).deliveries) == ["ready?"]


async def test_other_mail_does_not_end_the_wait(hub: Hub) -> None:
    call = await asking(hub)
    await send(hub, "by the way", sender="gamma", to="beta")
    await settle()
    assert not call.done()
    assert texts((await receive(hub, "beta")).deliveries) == ["by the way"]
    await reply(hub, await asked_of(hub))
    assert words(call.result()) == "yes"


async def test_a_stream_of_the_asker_does_not_get_the_reply(hub: Hub) -> None:
    stream = await hub.subscribe(ANYONE, "beta")
    batch = await soon(stream.batch())
    call = await asking(hub)
    await reply(hub, await asked_of(hub))
    assert words(call.result()) == "yes"
    assert not batch.done()
    await stream.close()
    assert await batch == []


async def test_eight_at_once_each_get_their_own(hub: Hub) -> None:
    calls = [await asking(hub, f"{number}?") for number in range(8)]
    with pytest.raises(TooManyWaits) as refused:
        await ask(hub, "one too many")
    assert refused.value.retry_after
    questions = (await receive(hub)).deliveries
    assert len(questions) == 8  # the ninth was not sent either
    for delivery in reversed(questions):
        await reply(hub, delivery.message.id, delivery.message.text.replace("?", "!"))
    assert [words(call.result()) for call in calls] == [f"{number}!" for number in range(8)]


@pytest.mark.parametrize(
    ("to", "timeout", "refusal", "pointer"),
    [
        ("beta", 10, WaitForSelf, None),
        ("ALL", 10, Invalid, "/wait"),
        ("alpha", -1, Invalid, "/wait"),
        ("alpha", 301, Invalid, "/wait"),
        ("alpha", float("nan"), Invalid, "/wait"),
        ("hub", 10, Invalid, "/to"),
    ],
)
async def test_what_cannot_be_waited_for_is_refused(
    hub: Hub, to: str, timeout: float, refusal: type[Exception], pointer: str | None
) -> None:
    with pytest.raises(refusal) as refused:
        await ask(hub, to=to, timeout=timeout)
    faults = getattr(refused.value, "faults", ())
    assert [fault.pointer for fault in faults] == ([pointer] if pointer else [])
    assert (hub.open_waits, (await hub.totals()).accepted) == (0, 0)


async def test_a_question_that_is_refused_leaves_no_wait(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(backend, "send", away)
        with pytest.raises(BackendUnavailable):
            await ask(hub)
    assert hub.open_waits == 0
    for _ in range(8):
        await asking(hub)


async def test_a_draining_hub_ends_the_wait_as_pending(hub: Hub) -> None:
    call = await asking(hub)
    await hub.drain()
    await settle()
    assert call.result().state is WaitState.PENDING


# --- both ask -----------------------------------------------------------------------------


async def test_when_both_ask_the_first_is_crossed_and_the_second_gets_its_answer(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    first = await asking(hub, "are you ready?")
    second = await asking(hub, "and you?", sender="alpha", to="beta")
    wait = first.result()
    assert (wait.state, words(wait)) == (WaitState.CROSSED, "and you?")
    assert metrics.counts["wait crossed"] == 1
    assert not second.done()
    assert wait.delivery is not None
    await send(hub, "I am", sender="beta", to="alpha", reply_to=wait.delivery.message.id)
    await settle()
    assert words(second.result()) == "I am"
    assert texts((await receive(hub)).deliveries) == ["are you ready?"]
    assert (await receive(hub, "beta")).deliveries == []


async def test_many_who_ask_each_other_all_end(hub: Hub, clock: ManualClock) -> None:
    names = ["a", "b", "c", "d"]
    calls = [
        await asking(hub, f"{one} asks {other}", sender=one, to=other)
        for one in names
        for other in names
        if one < other
    ]
    calls += [
        await asking(hub, f"{one} asks {other}", sender=one, to=other)
        for one in names
        for other in names
        if one > other
    ]
    await clock.advance(61)
    states = [call.result().state for call in calls]
    assert states == [WaitState.CROSSED] * 6 + [WaitState.PENDING] * 6


# --- nobody there any more ----------------------------------------------------------------


async def test_who_hangs_up_leaves_the_reply_an_ordinary_message(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    call = await asking(hub)
    question_id = await asked_of(hub)
    await cancel(call)
    assert hub.open_waits == 0
    assert metrics.counts["wait gone"] == 1
    await reply(hub, question_id)
    assert texts((await receive(hub, "beta")).deliveries) == ["yes"]


async def test_a_reply_that_could_not_be_written_is_an_ordinary_message(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    call = await asking(hub, written=False)
    await reply(hub, await asked_of(hub))
    assert words(call.result()) == "yes"
    [delivery] = (await receive(hub, "beta")).deliveries
    assert (delivery.message.text, delivery.attempt) == ("yes", 2)
    assert metrics.counts["wait gone"] == 1


async def test_a_reply_in_the_moment_of_hanging_up_is_not_lost(hub: Hub) -> None:
    for number in range(5):
        call = await asking(hub, f"{number}?")
        question_id = await asked_of(hub)
        sent = await send(hub, "yes", sender="alpha", to="beta", reply_to=question_id)
        call.cancel()
        await asyncio.wait([call])
        if not (await receive(hub, "beta")).deliveries:
            # A store that writes first may have answered the call before the sender.
            [standing] = await hub.standings(ANYONE, "beta", sent.receipt.message_id)
            assert standing.state is State.ACKED


async def test_a_store_that_is_away_at_the_end_holds_no_place(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    call = await asking(hub)
    question_id = await asked_of(hub)
    with monkeypatch.context() as broken:
        broken.setattr(backend, "ack", away)
        await reply(hub, question_id)
    assert words(call.result()) == "yes"
    assert hub.open_waits == 0
    await clock.advance(1)  # the store is back, and hears of it
    assert (await receive(hub, "beta")).deliveries == []
    assert (await backend.totals()).acked == 2  # the question and its answer


async def test_with_all_waits_taken_a_question_can_still_be_asked_again(hub: Hub) -> None:
    _, first = await hub.ask(ANYONE, draft(**KEY), 60)
    others = [await hub.ask(ANYONE, draft(f"{n}?"), 60) for n in range(7)]
    _, again = await hub.ask(ANYONE, draft(**KEY), 60)
    assert again.question_id == first.question_id
    with pytest.raises(TooManyWaits):
        await hub.ask(ANYONE, draft("one too many?"), 60)
    assert hub.open_waits == 9
    for question in (first, again, *(question for _, question in others)):
        await question.close()
    assert hub.open_waits == 0


async def test_a_store_that_is_away_meanwhile_does_not_end_the_wait(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch, clock: ManualClock
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(backend, "wait", away)
        answered, pending = await asking(hub), await asking(hub, "and now?", timeout=10)
        await clock.advance(10)
        assert pending.result().state is WaitState.PENDING
    await reply(hub, await asked_first(hub))
    assert words(answered.result()) == "yes"


async def test_a_reply_whose_hint_was_lost_is_found_by_looking(
    deaf_hub: Hub, clock: ManualClock, metrics: Counted
) -> None:
    task = await asking(deaf_hub)
    await reply(deaf_hub, await asked_of(deaf_hub))
    await settle()
    assert not task.done()
    await clock.advance(6)
    assert words(await task) == "yes"
    assert metrics.counts["woken poll"] == 1


async def test_of_a_reply_that_came_by_its_hint_that_is_counted(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    task = await asking(hub)
    await reply(hub, await asked_of(hub))
    assert words(await task) == "yes"
    assert metrics.counts["woken hint"] == 1


async def test_closing_twice_is_closing_once(hub: Hub) -> None:
    _, first = await hub.ask(ANYONE, draft(**KEY), 60)
    _, second = await hub.ask(ANYONE, draft(**KEY), 60)
    await first.close()
    await first.close()
    assert hub.open_waits == 1
    await second.close()


# --- asked again --------------------------------------------------------------------------


async def test_the_same_key_attaches_to_the_open_question(hub: Hub) -> None:
    calls = [await asking(hub, **KEY), await asking(hub, **KEY)]
    assert hub.open_waits == 2
    await reply(hub, await asked_of(hub))
    assert [words(call.result()) for call in calls] == ["yes", "yes"]
    assert hub.open_waits == 0
    assert (await receive(hub, "beta")).deliveries == []


async def test_the_wait_stands_while_one_of_them_still_waits(hub: Hub, clock: ManualClock) -> None:
    early = await asking(hub, timeout=10, **KEY)
    late = await asking(hub, timeout=60, **KEY)
    await clock.advance(10)
    assert early.result().state is WaitState.PENDING
    await reply(hub, await asked_of(hub))
    assert words(late.result()) == "yes"


async def test_a_second_call_finds_the_answer_when_the_first_could_not_write_it(
    hub: Hub,
) -> None:
    first = await asking(hub, written=False, **KEY)
    second = await asking(hub, **KEY)
    await reply(hub, await asked_of(hub))
    assert words(first.result()) == words(second.result()) == "yes"
    assert (await receive(hub, "beta")).deliveries == []


async def test_the_same_key_gets_the_reply_already_given_for_ten_minutes(
    hub: Hub, clock: ManualClock
) -> None:
    call = await asking(hub, **KEY)
    await reply(hub, await asked_of(hub))
    assert words(call.result()) == "yes"
    await clock.advance(599)
    again = await asking(hub, **KEY)
    assert words(again.result()) == "yes"
    assert again.result().question_id == call.result().question_id
    assert (await receive(hub)).deliveries == []
    await clock.advance(2)
    anew = await asking(hub, **KEY)
    assert not anew.done()
    assert texts((await receive(hub)).deliveries) == ["ready?"]


async def test_the_same_key_finds_the_reply_that_came_meanwhile(
    hub: Hub, clock: ManualClock
) -> None:
    call = await asking(hub, timeout=10, **KEY)
    question_id = await asked_of(hub)
    await clock.advance(10)
    assert call.result().state is WaitState.PENDING
    await reply(hub, question_id, "late")
    again = await asking(hub, **KEY)
    assert words(again.result()) == "late"
    assert (await receive(hub, "beta")).deliveries == []


async def test_the_same_key_goes_on_waiting(hub: Hub, clock: ManualClock) -> None:
    first = await asking(hub, timeout=10, **KEY)
    question_id = await asked_of(hub)
    await clock.advance(10)
    second = await asking(hub, **KEY)
    assert not second.done()
    await reply(hub, question_id)
    assert words(second.result()) == "yes"
    assert first.result().question_id == second.result().question_id


async def test_the_same_key_with_other_words_is_refused(hub: Hub) -> None:
    await asking(hub, **KEY)
    with pytest.raises(IdempotencyMismatch):
        await ask(hub, "something else?", **KEY)
    assert hub.open_waits == 1


async def test_a_question_asked_again_is_no_ninth_place(hub: Hub, clock: ManualClock) -> None:
    again = await asking(hub, timeout=10, **KEY)
    question_id = await asked_of(hub)
    await clock.advance(10)
    assert again.result().state is WaitState.PENDING
    for number in range(7):
        await asking(hub, f"{number}?")
    again = await asking(hub, **KEY)
    await reply(hub, question_id)
    assert words(again.result()) == "yes"


async def test_without_a_key_a_call_that_was_cut_off_is_found_again_for_a_minute(
    hub: Hub, clock: ManualClock
) -> None:
    await cancel(await asking(hub))
    question_id = await asked_of(hub)
    await clock.advance(59)
    again = await asking(hub)
    assert (await receive(hub)).deliveries == []
    await reply(hub, question_id)
    assert words(again.result()) == "yes"
    assert again.result().question_id == question_id


async def test_without_a_key_the_reply_that_came_meanwhile_is_found(hub: Hub) -> None:
    await cancel(await asking(hub))
    await reply(hub, await asked_of(hub), "meanwhile")
    again = await asking(hub)
    assert words(again.result()) == "meanwhile"


async def test_without_a_key_a_call_that_was_cut_off_twice_is_found_again(hub: Hub) -> None:
    for _ in range(3):
        await cancel(await asking(hub))
    question_id = await asked_of(hub)
    last = await asking(hub)
    await reply(hub, question_id)
    assert words(last.result()) == "yes"


@pytest.mark.parametrize("times", [1, 2])
async def test_without_a_key_a_call_that_was_cut_off_before_its_answer_is_found_again(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    told = asyncio.Event()
    accept = backend.send

    async def tell_late(question: Submission) -> Receipt:
        receipt = await accept(question)
        await told.wait()
        return receipt

    with monkeypatch.context() as slow:
        slow.setattr(backend, "send", tell_late)
        call = await asking(hub)
        for _ in range(times):  # its asker hangs up, and the hub is stopped
            call.cancel()
            await settle()
        told.set()
        await asyncio.wait([call])
        await settle()
    assert call.cancelled()
    assert hub.open_waits == 0
    question_id = await asked_of(hub)
    again = await asking(hub)
    assert (await receive(hub)).deliveries == []
    await reply(hub, question_id)
    assert words(again.result()) == "yes"


async def test_a_call_that_was_cut_off_before_its_refusal_is_cut_off(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = asyncio.Event()

    async def refuse_late(_: Submission) -> Receipt:
        await told.wait()
        raise BackendUnavailable("away")

    monkeypatch.setattr(backend, "send", refuse_late)
    call = await asking(hub)
    call.cancel()
    await settle()
    told.set()
    await asyncio.wait([call])
    assert call.cancelled()
    assert hub.open_waits == 0


@pytest.mark.parametrize("change", [{"text": "ready now?"}, {"to": "gamma"}, {"sender": "delta"}])
async def test_only_the_same_call_finds_it(hub: Hub, change: dict[str, Any]) -> None:
    await cancel(await asking(hub))
    await asking(hub, **{"text": "ready?", **change})
    assert (await hub.totals()).accepted == 2


async def test_after_a_minute_it_is_a_new_question(hub: Hub, clock: ManualClock) -> None:
    await cancel(await asking(hub))
    await clock.advance(60)
    await asking(hub)
    assert len((await receive(hub)).deliveries) == 2


async def test_a_timeout_that_was_told_is_no_cut(hub: Hub, clock: ManualClock) -> None:
    call = await asking(hub, timeout=10)
    await clock.advance(10)
    assert call.done()
    await asking(hub)
    assert len((await receive(hub)).deliveries) == 2


async def test_the_asker_sees_where_its_question_stands(hub: Hub) -> None:
    call = await asking(hub)
    question_id = await asked_of(hub)
    [standing] = await hub.standings(ANYONE, "beta", question_id)
    assert standing.state is State.ACKED
    await cancel(call)


async def abandon(hub: Hub, **more: Any) -> str:
    """A question whose asker hung up while it waited."""
    _, question = await hub.ask(ANYONE, draft("?", sender="alpha", to="beta", **more), 60)
    await cancel(await soon(question.answered()))
    await question.close()
    return question.question_id


async def test_a_question_asked_again_finds_the_reply_that_was_read_as_ordinary_mail(
    hub: Hub,
) -> None:
    question_id = await abandon(hub)
    await send(hub, "!", sender="beta", to="alpha", reply_to=question_id)
    assert texts((await receive(hub, "alpha")).deliveries) == ["!"]
    sent, again = await hub.ask(ANYONE, draft("?", sender="alpha", to="beta"), 60)
    async with again:
        wait = await again.answered()
    assert sent.replayed
    assert (wait.state, wait.settled) == (WaitState.REPLIED, True)


async def test_a_question_that_expired_unread_is_asked_anew(hub: Hub, clock: ManualClock) -> None:
    await abandon(hub, ttl=5)
    await clock.advance(10)
    sent, again = await hub.ask(ANYONE, draft("?", sender="alpha", to="beta", ttl=5), 60)
    await again.close()
    assert not sent.replayed

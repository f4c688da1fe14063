"""Waits: which message answers a question, who gives way, and that no reply is ever lost."""

from __future__ import annotations

import pytest

from agent_hub.core.errors import InboxFull, TooManyWaits
from agent_hub.core.limits import Limits
from agent_hub.core.mail import Receipt, State, Submission, Wait, WaitState
from agent_hub.core.message import new_message_id
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import (
    attempts,
    balance,
    ids,
    letter,
    send,
    state_of,
    take,
    texts,
)
from tests.clock import ManualClock
from tests.conftest import OpenBackend


async def ask(
    backend: QueueBackend,
    text: str = "?",
    *,
    asker: str = "alpha",
    asked: str = "beta",
    seconds: float = 90.0,
    key: str | None = None,
) -> Receipt:
    """Reserve, then send: alpha asks beta."""
    question_id = new_message_id()
    wait = await backend.open_wait(asker, question_id, asked, seconds=seconds)
    question = letter(
        text,
        sender=asker,
        to=asked,
        message_id=question_id,
        key=key,
        ttl=3_600.0,
        asking_since=wait.since,
    )
    return await backend.send(question)


async def ask_again(backend: QueueBackend, question: Receipt) -> Wait:
    """Reserve for a question that was sent."""
    return await backend.open_wait("alpha", question.message_id, "beta", seconds=60)


async def answer(
    backend: QueueBackend, question: Receipt | None, text: str = "!", *, sender: str = "beta"
) -> Receipt:
    reply_to = None if question is None else question.message_id
    return await backend.send(letter(text, sender=sender, reply_to=reply_to))


async def waiting(backend: QueueBackend, question: Receipt) -> Wait:
    wait = await backend.wait("alpha", question.message_id)
    assert wait is not None
    return wait


async def replied_with(backend: QueueBackend, question: Receipt) -> str | None:
    wait = await waiting(backend, question)
    assert (wait.delivery is not None) == (wait.state is not WaitState.PENDING)
    return None if wait.delivery is None else wait.delivery.message.text


# --- what answers -------------------------------------------------------------------------


async def test_the_reply_is_the_message_that_names_the_question(backend: QueueBackend) -> None:
    question = await ask(backend)
    assert (await waiting(backend, question)).state is WaitState.PENDING
    await answer(backend, question, "yes")
    wait = await waiting(backend, question)
    assert (wait.state, wait.settled) == (WaitState.REPLIED, False)
    assert wait.delivery is not None
    assert (wait.delivery.message.text, wait.delivery.attempt) == ("yes", 1)


async def test_each_question_gets_its_own_reply(backend: QueueBackend) -> None:
    first, second = await ask(backend, "1?"), await ask(backend, "2?")
    await answer(backend, second, "2!")
    await answer(backend, first, "1!")
    assert await replied_with(backend, first) == "1!"
    assert await replied_with(backend, second) == "2!"


async def test_a_message_that_names_no_question_answers_the_oldest(backend: QueueBackend) -> None:
    first, second = await ask(backend, "1?"), await ask(backend, "2?")
    await answer(backend, None, "forgot to say what I answer")
    assert await replied_with(backend, first) == "forgot to say what I answer"
    assert await replied_with(backend, second) is None
    await answer(backend, None, "again")
    assert await replied_with(backend, second) == "again"
    await answer(backend, None, "and again")
    assert texts(await take(backend)) == ["and again"]


async def test_a_message_that_names_another_message_answers_nothing(backend: QueueBackend) -> None:
    question = await ask(backend)
    await backend.send(letter("about something else", reply_to=new_message_id()))
    assert await replied_with(backend, question) is None
    assert texts(await take(backend)) == ["about something else"]


@pytest.mark.parametrize("naming", [True, False])
async def test_only_the_asked_one_answers(backend: QueueBackend, naming: bool) -> None:
    question = await ask(backend)
    await answer(backend, question if naming else None, "not asked", sender="gamma")
    assert await replied_with(backend, question) is None
    assert texts(await take(backend)) == ["not asked"]


async def test_a_broadcast_of_the_asked_one_answers_only_what_it_names(
    backend: QueueBackend,
) -> None:
    question = await ask(backend)
    await backend.send(letter("to all", broadcast=True))
    assert await replied_with(backend, question) is None
    assert texts(await take(backend)) == ["to all"]
    await backend.send(letter("yes, all", broadcast=True, reply_to=question.message_id))
    assert await replied_with(backend, question) == "yes, all"
    assert await take(backend) == []


async def test_a_question_that_names_the_question_answers_it(backend: QueueBackend) -> None:
    question = await ask(backend)
    since = (await backend.open_wait("beta", "m_beta", "alpha", seconds=60)).since
    await backend.send(letter("which?", reply_to=question.message_id, asking_since=since))
    assert (await waiting(backend, question)).state is WaitState.REPLIED


async def test_mail_that_came_before_the_question_answers_nothing(backend: QueueBackend) -> None:
    await send(backend, "before")
    question = await ask(backend)
    assert await replied_with(backend, question) is None
    assert texts(await take(backend)) == ["before"]


async def test_a_second_reply_is_an_ordinary_message(backend: QueueBackend) -> None:
    question = await ask(backend)
    await answer(backend, question, "first")
    await answer(backend, question, "second")
    assert await replied_with(backend, question) == "first"
    assert texts(await take(backend)) == ["second"]


async def test_a_reserved_reply_is_leased_by_nobody_else(backend: QueueBackend) -> None:
    question = await ask(backend)
    reply = await answer(backend, question)
    assert await take(backend) == []
    assert await state_of(backend, reply.message_id) is State.LEASED
    for failure in (True, False):
        held_by = question.message_id
        assert await backend.release("alpha", held_by, None, failure=failure) == 0
        assert await backend.extend("alpha", held_by, [reply.message_id], seconds=1) == 0
    assert await replied_with(backend, question) == "!"


async def test_a_reply_takes_its_place_in_the_order(backend: QueueBackend) -> None:
    question = await ask(backend)
    receipts = [
        *await send(backend, "a", sender="gamma"),
        await answer(backend, question),
        *await send(backend, "b", sender="gamma"),
    ]
    assert [receipt.seq for receipt in receipts] == [1, 2, 3]
    assert texts(await take(backend)) == ["a", "b"]
    await balance(backend)


async def test_a_reply_that_is_refused_leaves_the_wait_open(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=1))
    await send(backend, "x", sender="gamma")
    question = await ask(backend)
    with pytest.raises(InboxFull):
        await answer(backend, question)
    assert await replied_with(backend, question) is None


# --- crossing -----------------------------------------------------------------------------


async def test_when_both_ask_the_wait_that_stood_first_gets_the_question(
    backend: QueueBackend,
) -> None:
    mine = await ask(backend, "mine?")
    theirs = await ask(backend, "theirs?", asker="beta", asked="alpha")
    wait = await waiting(backend, mine)
    assert wait.state is WaitState.CROSSED
    assert await replied_with(backend, mine) == "theirs?"
    later = await backend.wait("beta", theirs.message_id)
    assert later is not None
    assert later.state is WaitState.PENDING


async def test_the_later_asker_goes_on_waiting_and_gets_its_answer(backend: QueueBackend) -> None:
    await ask(backend, "mine?")
    theirs = await ask(backend, "theirs?", asker="beta", asked="alpha")
    await backend.send(letter("!", sender="alpha", to="beta", reply_to=theirs.message_id))
    later = await backend.wait("beta", theirs.message_id)
    assert later is not None
    assert later.state is WaitState.REPLIED


async def test_a_question_crosses_no_wait_that_was_opened_later(backend: QueueBackend) -> None:
    early = await backend.open_wait("beta", "m_early", "alpha", seconds=60)
    mine = await ask(backend, "mine?")
    await backend.send(letter("theirs?", asking_since=early.since))
    assert (await waiting(backend, mine)).state is WaitState.PENDING
    assert texts(await take(backend)) == ["theirs?"]


async def test_however_their_calls_interleave_exactly_one_gives_way(
    backend: QueueBackend,
) -> None:
    alphas = await backend.open_wait("alpha", "m_alpha", "beta", seconds=60)
    betas = await backend.open_wait("beta", "m_beta", "alpha", seconds=60)
    assert alphas.since < betas.since
    await backend.send(letter("b?", message_id="m_beta", asking_since=betas.since))
    await backend.send(
        letter("a?", sender="alpha", to="beta", message_id="m_alpha", asking_since=alphas.since)
    )
    states = [await backend.wait("alpha", "m_alpha"), await backend.wait("beta", "m_beta")]
    assert [wait and wait.state for wait in states] == [WaitState.CROSSED, WaitState.PENDING]


async def test_a_question_crosses_the_oldest_wait(backend: QueueBackend) -> None:
    first, second = await ask(backend, "1?"), await ask(backend, "2?")
    await ask(backend, "theirs?", asker="beta", asked="alpha")
    assert (await waiting(backend, first)).state is WaitState.CROSSED
    assert (await waiting(backend, second)).state is WaitState.PENDING


async def test_a_question_from_somebody_else_crosses_nothing(backend: QueueBackend) -> None:
    mine = await ask(backend)
    await ask(backend, "theirs?", asker="gamma", asked="alpha")
    assert (await waiting(backend, mine)).state is WaitState.PENDING
    assert texts(await take(backend)) == ["theirs?"]


async def test_what_crossed_returns_to_its_place_when_nobody_takes_it(
    backend: QueueBackend,
) -> None:
    mine = await ask(backend)
    await ask(backend, "theirs?", asker="beta", asked="alpha")
    await backend.close_wait("alpha", mine.message_id)
    assert texts(await take(backend)) == ["theirs?"]


# --- opening ------------------------------------------------------------------------------


async def test_an_open_wait_is_opened_again_as_it_stands(backend: QueueBackend) -> None:
    question = await ask(backend)
    opened = await waiting(backend, question)
    again = await ask_again(backend, question)
    assert again == opened
    await answer(backend, question)
    again = await ask_again(backend, question)
    assert again == await waiting(backend, question)
    assert again.state is WaitState.REPLIED


async def test_no_two_waits_stand_since_the_same_moment(backend: QueueBackend) -> None:
    waits = [
        await backend.open_wait(agent_id, f"m_{number}", "beta", seconds=60)
        for number in range(4)
        for agent_id in ("alpha", "gamma")
    ]
    times = [wait.since for wait in waits]
    assert times == sorted(set(times))


async def test_a_wait_opened_again_takes_the_reply_that_came_meanwhile(
    backend: QueueBackend,
) -> None:
    question = await ask(backend)
    await backend.close_wait("alpha", question.message_id)
    await send(backend, "something else")
    await answer(backend, question, "late")
    wait = await ask_again(backend, question)
    assert wait.state is WaitState.REPLIED
    assert wait.delivery is not None
    assert wait.delivery.message.text == "late"
    assert texts(await take(backend)) == ["something else"]


async def test_a_wait_opened_again_takes_no_reply_of_somebody_else(backend: QueueBackend) -> None:
    question = await ask(backend)
    await backend.close_wait("alpha", question.message_id)
    await answer(backend, question, "not asked", sender="gamma")
    wait = await ask_again(backend, question)
    assert wait.state is WaitState.PENDING


async def test_a_wait_opened_again_takes_no_reply_that_somebody_reads(
    backend: QueueBackend,
) -> None:
    question = await ask(backend)
    await backend.close_wait("alpha", question.message_id)
    await answer(backend, question)
    held = await take(backend)
    wait = await ask_again(backend, question)
    assert wait.state is WaitState.PENDING
    assert len(await backend.ack("alpha", ids(held))) == 1


async def test_eight_questions_may_be_open_at_once(backend: QueueBackend) -> None:
    questions = [await ask(backend) for _ in range(8)]
    with pytest.raises(TooManyWaits) as refused:
        await backend.open_wait("alpha", "m_ninth", "beta", seconds=60)
    assert refused.value.retry_after
    assert await backend.wait("alpha", "m_ninth") is None
    await backend.open_wait("alpha", questions[0].message_id, "beta", seconds=60)
    await backend.open_wait("gamma", "m_gamma", "beta", seconds=60)
    await backend.close_wait("alpha", questions[0].message_id)
    await backend.open_wait("alpha", "m_ninth", "beta", seconds=60)


async def test_a_question_that_has_its_answer_leaves_room_for_another(
    backend: QueueBackend,
) -> None:
    questions = [await ask(backend) for _ in range(8)]
    await answer(backend, questions[3])
    await ask(backend)


# --- closing ------------------------------------------------------------------------------


async def test_a_reply_that_nobody_acked_is_ready_again_unblamed(backend: QueueBackend) -> None:
    question = await ask(backend)
    await send(backend, "before", sender="gamma")
    reply = await answer(backend, question, "reply")
    await send(backend, "after", sender="gamma")
    await backend.close_wait("alpha", question.message_id)
    assert await backend.wait("alpha", question.message_id) is None
    deliveries = await take(backend, lease_id="mine")
    assert texts(deliveries) == ["before", "reply", "after"]
    assert attempts(deliveries) == [1, 2, 1]
    for _ in range(5):
        await backend.release("alpha", "mine", [reply.message_id], failure=True)
        await take(backend, lease_id="mine-again", limit=1)
        await backend.release("alpha", "mine-again", None, failure=False)
        await take(backend, lease_id="mine", limit=1)
    assert await state_of(backend, reply.message_id) is not State.DEAD


async def test_a_reply_that_was_acked_stays_so(backend: QueueBackend) -> None:
    question = await ask(backend)
    reply = await answer(backend, question)
    assert len(await backend.ack("alpha", [reply.message_id])) == 1
    assert (await waiting(backend, question)).settled
    await backend.close_wait("alpha", question.message_id)
    assert await take(backend) == []
    assert await state_of(backend, reply.message_id) is State.ACKED


async def test_a_reply_after_the_wait_is_an_ordinary_message(backend: QueueBackend) -> None:
    question = await ask(backend)
    await backend.close_wait("alpha", question.message_id)
    await answer(backend, question, "late")
    await answer(backend, None, "later")
    assert texts(await take(backend)) == ["late", "later"]


async def test_closing_twice_or_what_was_never_open_is_fine(backend: QueueBackend) -> None:
    question = await ask(backend)
    await answer(backend, question)
    for _ in range(2):
        await backend.close_wait("alpha", question.message_id)
    await backend.close_wait("alpha", "m_unknown", keep=True)
    assert len(await take(backend)) == 1
    await backend.close_wait("alpha", question.message_id)
    assert await take(backend) == []


async def test_an_expired_reply_that_nobody_took_expires_at_the_end_of_the_wait(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = await ask(backend)
    reply = await backend.send(letter("!", reply_to=question.message_id, ttl=10))
    await clock.advance(20)
    assert await replied_with(backend, question) == "!"
    await backend.close_wait("alpha", question.message_id)
    assert await state_of(backend, reply.message_id) is State.EXPIRED


async def test_a_wait_ends_by_itself_should_its_holder_vanish(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = await ask(backend, seconds=90)
    await answer(backend, question)
    await clock.advance(89)
    assert await take(backend) == []
    await clock.advance(1)
    assert attempts(await take(backend)) == [2]
    assert await backend.wait("alpha", question.message_id) is None


@pytest.mark.parametrize("step", [-3_600, 3_600])
async def test_setting_the_wall_clock_neither_ends_nor_prolongs_a_wait(
    backend: QueueBackend, clock: ManualClock, step: float
) -> None:
    question = await ask(backend, seconds=90)
    clock.step_wall(step)
    await clock.advance(89)
    assert (await waiting(backend, question)).state is WaitState.PENDING
    await clock.advance(1)
    assert await backend.wait("alpha", question.message_id) is None


async def test_opening_again_prolongs_a_wait_and_never_shortens_it(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = await ask(backend, seconds=90)
    await clock.advance(60)
    await backend.open_wait("alpha", question.message_id, "beta", seconds=90)
    await backend.open_wait("alpha", question.message_id, "beta", seconds=1)
    await clock.advance(89)
    assert (await waiting(backend, question)).state is WaitState.PENDING
    await clock.advance(1)
    assert await backend.wait("alpha", question.message_id) is None


# --- kept answers -------------------------------------------------------------------------


async def test_a_kept_answer_is_given_again_for_ten_minutes(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = await ask(backend)
    reply = await answer(backend, question, "yes")
    await backend.ack("alpha", [reply.message_id])
    await backend.close_wait("alpha", question.message_id, keep=True)
    await clock.advance(599)
    for wait in (
        await ask_again(backend, question),
        await waiting(backend, question),
    ):
        assert (wait.state, wait.settled) == (WaitState.REPLIED, True)
        assert wait.delivery is not None
        assert wait.delivery.message.text == "yes"
    await backend.close_wait("alpha", question.message_id, keep=True)
    await clock.advance(1)
    assert await backend.wait("alpha", question.message_id) is None
    wait = await ask_again(backend, question)
    assert wait.state is WaitState.PENDING


async def test_a_reply_that_was_read_as_ordinary_mail_answers_the_question_asked_again(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = await ask(backend)
    await backend.close_wait("alpha", question.message_id)
    reply = await answer(backend, question)
    await backend.ack("alpha", [reply.message_id])
    for wait in (
        await ask_again(backend, question),
        await waiting(backend, question),
    ):
        assert (wait.state, wait.settled) == (WaitState.REPLIED, True)
        assert wait.delivery is not None
        assert wait.delivery.message.id == reply.message_id


async def test_a_reply_that_is_kept_no_more_answers_nothing(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = await ask(backend)
    await backend.close_wait("alpha", question.message_id)
    reply = await answer(backend, question)
    await backend.ack("alpha", [reply.message_id])
    await clock.advance(300)
    wait = await ask_again(backend, question)
    assert wait.state is WaitState.PENDING


async def test_an_answer_that_nobody_acked_is_not_kept_but_ready(backend: QueueBackend) -> None:
    question = await ask(backend)
    await answer(backend, question)
    await backend.close_wait("alpha", question.message_id, keep=True)
    wait = await ask_again(backend, question)
    assert (wait.state, wait.settled) == (WaitState.REPLIED, False)
    assert wait.delivery is not None
    assert wait.delivery.attempt == 2


async def test_a_crossing_is_no_answer_to_be_kept(backend: QueueBackend) -> None:
    mine = await ask(backend)
    theirs = await ask(backend, "theirs?", asker="beta", asked="alpha")
    await backend.ack("alpha", [theirs.message_id])
    await backend.close_wait("alpha", mine.message_id, keep=True)
    wait = await backend.open_wait("alpha", mine.message_id, "beta", seconds=60)
    assert wait.state is WaitState.PENDING


async def test_only_so_many_answers_are_kept(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(answers_per_agent=2))
    questions = [await ask(backend) for _ in range(3)]
    for question in questions:
        reply = await answer(backend, question)
        await backend.ack("alpha", [reply.message_id])
        await backend.close_wait("alpha", question.message_id, keep=True)
    found = [await backend.wait("alpha", question.message_id) for question in questions]
    assert [wait is not None for wait in found] == [False, True, True]


# --- abandoned questions ------------------------------------------------------------------


def repeated(text: str = "?", *, asked: str = "beta", asking: bool = True) -> Submission:
    """The same question as a client sends it again: a new id, the same content."""
    since = 1.0 if asking else None
    return letter(text, sender="alpha", to=asked, ttl=3_600.0, asking_since=since)


async def abandon(backend: QueueBackend, text: str = "?") -> Receipt:
    question = await ask(backend, text)
    await backend.close_wait("alpha", question.message_id, abandoned=repeated(text))
    return question


async def test_an_abandoned_question_that_is_asked_again_is_found(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = await abandon(backend)
    await clock.advance(59)
    again = await backend.send(repeated())
    assert again.replayed
    assert (again.message_id, again.seq) == (question.message_id, question.seq)
    assert texts(await take(backend, "beta")) == ["?"]


async def test_an_abandoned_question_is_remembered_for_a_minute(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await abandon(backend)
    await clock.advance(60)
    assert not (await backend.send(repeated())).replayed


@pytest.mark.parametrize(
    "other",
    [repeated("other?"), repeated(asked="gamma"), repeated(asking=False)],
    ids=["other words", "another recipient", "not asking"],
)
async def test_only_the_same_question_finds_it(backend: QueueBackend, other: Submission) -> None:
    await abandon(backend)
    assert not (await backend.send(other)).replayed


async def test_an_abandoned_question_is_found_once(backend: QueueBackend) -> None:
    question = await abandon(backend)
    await backend.send(repeated())
    again = await backend.send(repeated())
    assert not again.replayed
    assert again.message_id != question.message_id


async def test_a_blind_retry_finds_the_abandoned_question_too(backend: QueueBackend) -> None:
    question = await abandon(backend)
    retried = repeated()
    receipts = [await backend.send(retried) for _ in range(3)]
    assert {receipt.message_id for receipt in receipts} == {question.message_id}
    assert texts(await take(backend, "beta")) == ["?"]


async def test_a_question_that_was_never_sent_is_not_remembered(backend: QueueBackend) -> None:
    await backend.open_wait("alpha", "m_unsent", "beta", seconds=60)
    await backend.close_wait("alpha", "m_unsent", abandoned=repeated())
    assert not (await backend.send(repeated())).replayed


INTERNAL = "?=~!>#@:"
"""What a store may write before an id, to keep something else of the message."""


async def test_ids_that_no_message_has_find_nothing_of_what_a_store_keeps_beside_messages(
    backend: QueueBackend, clock: ManualClock
) -> None:
    question = letter("?", message_id="m_q", key="k")
    answer = letter("!", sender="alpha", to="beta", reply_to="m_q")
    await backend.open_wait("beta", "m_q", "alpha", seconds=60)
    await backend.send(question)
    await backend.send(answer)
    await backend.send(letter("more", sender="alpha", to="beta"))
    await backend.ack("beta", [answer.message_id])
    await backend.close_wait("beta", "m_q", keep=True)
    for mark in INTERNAL:
        made_up = [f"{mark}{known}" for known in ("m_q", answer.message_id, "alpha", "beta")]
        assert await backend.ack("beta", made_up) == []
        for lease_id in ("", "m_q"):
            assert await backend.release("beta", lease_id, made_up, failure=True) == 0
            assert await backend.extend("beta", lease_id, made_up, seconds=60) == 0
        for one in made_up:
            assert await backend.standings("beta", one) == []
    await balance(backend)
    assert texts(await take(backend, "beta")) == ["more"]
    clock.pass_by(3_600)
    await backend.sweep()
    await balance(backend)

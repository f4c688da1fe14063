"""Ask and wait over a socket: accepted at once, the reply later, and never a reply lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clock import ManualClock
from tests.server import RunningHub, running_hub
from tests.web.line import CLOSE, TEXT, frame, upgraded
from tests.web.peer import Frame, Peer, connected, look, metric, post, state, until


def question(**more: Any) -> Frame:
    return {"type": "request", "to": "beta", "text": "ready?", "wait": 60, "ref": "q", **more}


async def answer(beta: Peer, text: str = "yes", **more: Any) -> Frame:
    """Read a question, answer it, and read that the answer was accepted."""
    asked = await beta.next()
    return await beta.send(asked["from"], text, reply_to=asked["id"], **more)


async def waits(hub: RunningHub) -> float:
    """How many questions wait, as the gauge has it."""
    gauge = await metric(hub, "agenthub_waits_inflight")
    assert gauge == hub.hub.open_waits
    return gauge


async def test_a_question_is_accepted_at_once_and_its_reply_comes_later() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
    ):
        accepted = await alpha.ask(question())
        assert (accepted["type"], accepted["ref"]) == ("hub.accepted", "q")
        assert await waits(hub) == 1
        sent = await answer(beta)
        reply = await alpha.next()
        await alpha.sync()
        assert (reply["type"], reply["from"], reply["ref"]) == ("hub.reply", "hub", "q")
        assert (reply["status"], reply["message_id"]) == ("replied", accepted["message_id"])
        assert reply["reply"]["text"] == "yes"
        assert reply["reply"]["id"] == sent["message_id"]
        assert reply["reply"]["cursor"] == reply["cursor"]
        await alpha.sync()
        assert await state(hub, sent["message_id"], "alpha") == "acked"
        assert await waits(hub) == 0


async def test_while_it_waits_the_socket_goes_on() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
    ):
        await alpha.ask(question())
        await post(hub, "alpha", "by the way", sender="gamma")
        assert await alpha.texts(1) == ["by the way"]
        assert (await alpha.send("gamma"))["type"] == "hub.accepted"
        await answer(beta)
        assert (await alpha.next())["type"] == "hub.reply"


async def test_the_reply_is_not_delivered_a_second_time_as_a_message() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
    ):
        await alpha.ask(question())
        await answer(beta)
        assert (await alpha.next())["type"] == "hub.reply"
        assert await alpha.sync() == await alpha.sync() == []
        assert await look(hub, "alpha") == []


async def test_when_the_time_is_over_the_status_is_pending_and_a_late_reply_is_a_message(
    clock: ManualClock,
) -> None:
    async with (
        running_hub(clock=clock) as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
    ):
        await post(hub, "alpha", "earlier", sender="gamma")
        earlier = await alpha.next()
        await alpha.ask(question(wait=30))
        await clock.advance(30)
        pending = await alpha.next()
        assert (pending["status"], pending["reply"]) == ("pending", None)
        assert pending["cursor"] == earlier["cursor"]
        await answer(beta)
        late = await alpha.next()
        assert (late["type"], late["text"], late["attempt"]) == ("message", "yes", 1)
        assert late["reply_to"] == pending["message_id"]


async def test_a_wait_of_nothing_is_pending_at_once() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        await alpha.ask(question(wait=0))
        assert (await alpha.next())["status"] == "pending"
        assert await waits(hub) == 0


async def test_when_both_ask_each_other_the_wait_that_stood_first_gets_the_question() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
    ):
        await alpha.ask(question())
        asked = await beta.next()
        await beta.ask(question(to="alpha", text="you first"))
        crossed = await alpha.next()
        assert (crossed["status"], crossed["reply"]["text"]) == ("crossed", "you first")
        await alpha.send("beta", "after you", reply_to=crossed["reply"]["id"])
        reply = await beta.next()
        assert (reply["status"], reply["reply"]["text"]) == ("replied", "after you")
        await beta.send("alpha", "late", reply_to=asked["id"])
        assert await alpha.texts(1) == ["late"]


async def test_a_message_that_names_no_question_is_taken_for_the_reply() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta") as beta,
    ):
        await alpha.ask(question())
        await beta.next()
        await beta.send("alpha", "forgot to say to what")
        assert (await alpha.next())["reply"]["text"] == "forgot to say to what"


async def test_a_reply_without_a_receipt_is_given_back_when_the_socket_dies() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        async with connected(hub, "alpha", receipts=False) as alpha:
            await alpha.ask(question())
            sent = await answer(beta)
            assert (await alpha.next())["reply"]["attempt"] == 1
            assert await state(hub, sent["message_id"], "alpha") == "leased"
        async with connected(hub, "alpha") as alpha:
            again = await alpha.next()
            assert (again["text"], again["attempt"]) == ("yes", 2)
        assert await waits(hub) == 0


async def test_a_reply_is_acked_by_its_receipt() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "beta") as beta,
        connected(hub, "alpha", receipts=False) as alpha,
    ):
        await alpha.ask(question())
        sent = await answer(beta)
        await alpha.next()
        await alpha.socket.pong(await alpha.ping())
        await alpha.sync()
        assert await state(hub, sent["message_id"], "alpha") == "acked"


@pytest.mark.parametrize(("control", "then"), [("hub.ack", "acked"), ("hub.release", "leased")])
async def test_with_manual_acks_a_reply_is_settled_by_its_id(control: str, then: str) -> None:
    async with (
        running_hub() as hub,
        connected(hub, "beta") as beta,
        connected(hub, "alpha", ack="manual") as alpha,
    ):
        await alpha.ask(question())
        sent = await answer(beta)
        reply = (await alpha.next())["reply"]
        await alpha.say({"type": control, "ids": [reply["id"]]})
        if control == "hub.release":
            assert (await alpha.next())["attempt"] == 2
        await alpha.sync()
        assert await state(hub, sent["message_id"], "alpha") == then
        assert await waits(hub) == 0


async def test_a_reply_that_comes_while_the_asker_is_away_is_an_ordinary_message() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        async with connected(hub, "alpha") as alpha:
            await alpha.ask(question())
        await until(hub, lambda: not hub.hub.open_waits)
        await answer(beta)
        async with connected(hub, "alpha") as alpha:
            assert await alpha.texts(1) == ["yes"]


async def test_asked_again_within_a_minute_the_question_is_not_sent_twice() -> None:
    async with running_hub() as hub, connected(hub, "beta") as beta:
        async with connected(hub, "alpha") as alpha:
            first = await alpha.ask(question())
        await until(hub, lambda: not hub.hub.open_waits)
        async with connected(hub, "alpha") as alpha:
            again = await alpha.ask(question())
            assert (again["message_id"], again["replayed"]) == (first["message_id"], True)
            await answer(beta)
            assert (await alpha.next())["reply"]["text"] == "yes"
        assert await beta.sync() == []


async def test_the_same_key_finds_the_reply_already_given() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "beta") as beta,
        connected(hub, "alpha") as alpha,
    ):
        await alpha.ask(question(idempotency_key="k"))
        await answer(beta)
        first = await alpha.next()
        await alpha.sync()
        await alpha.sync()
        assert (await alpha.ask(question(idempotency_key="k")))["replayed"] is True
        again = await alpha.next()
        assert (again["status"], again["reply"]["id"]) == ("replied", first["reply"]["id"])
        assert await beta.sync() == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"to": "alpha"}, "wait_for_self"),
        ({"to": "ALL"}, "invalid"),
        ({"wait": 301}, "invalid"),
        ({"wait": "long"}, "invalid"),
    ],
)
async def test_a_question_that_cannot_be_asked_leaves_nothing_behind(
    wrong: Frame, code: str
) -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        assert (await alpha.ask(question(**wrong)))["problem"]["code"] == code
        assert await waits(hub) == 0


async def test_eight_questions_at_once_are_open_and_the_ninth_is_refused() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        for number in range(8):
            assert (await alpha.ask(question(text=str(number))))["type"] == "hub.accepted"
        assert (await alpha.ask(question()))["problem"]["code"] == "too_many_waits"
        assert await waits(hub) == 8
    async with running_hub() as hub:
        assert await waits(hub) == 0


async def test_a_takeover_ends_the_questions_of_the_older_socket() -> None:
    async with (
        running_hub() as hub,
        connected(hub, "beta") as beta,
        connected(hub, "alpha") as older,
    ):
        await older.ask(question())
        async with connected(hub, "alpha") as newer:
            assert await older.closed() == 4503
            await until(hub, lambda: not hub.hub.open_waits)
            await answer(beta)
            assert await newer.texts(1) == ["yes"]


async def test_a_question_and_a_close_in_one_breath_leave_no_wait_behind() -> None:
    async with running_hub() as hub, upgraded(hub, "alpha") as line:
        asked = json.dumps(question()).encode()
        line.send(frame(TEXT, asked), frame(CLOSE, b"\x03\xe8"))
        assert await line.close_code() == 1000
        line.cut()
        await until(hub, lambda: not hub.hub.open_subscriptions)
        assert await waits(hub) == 0
        assert len(await look(hub, "beta")) == 1


async def test_questions_on_a_line_that_is_cut_leave_no_wait_behind() -> None:
    async with running_hub() as hub, upgraded(hub, "alpha") as line:
        line.send(*(frame(TEXT, json.dumps(question(text=text)).encode()) for text in "abcdef"))
        line.cut()
        await until(hub, lambda: not hub.hub.open_subscriptions)
        assert await look(hub, "beta") != []
        assert await waits(hub) == 0


async def test_at_shutdown_waits_end_as_pending_before_the_notice() -> None:
    async with running_hub() as hub, connected(hub, "alpha") as alpha:
        await alpha.ask(question())
        await hub.hub.drain()
        reply, notice = await alpha.frames(2)
        assert (reply["type"], reply["status"]) == ("hub.reply", "pending")
        assert notice["type"] == "hub.notice"
        assert await alpha.closed() == 1001
        assert await waits(hub) == 0

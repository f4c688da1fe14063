"""send_message_and_wait: the reply to one's own question, and no other message."""

from __future__ import annotations

import asyncio
from asyncio import Task
from typing import Any

import pytest

from mcp_bridge.asgi import TICK_SECONDS
from mcp_bridge.call import PROGRESS_SECONDS
from mcp_bridge.tools import SAFE_SECONDS
from tests.clock import ManualClock
from tests.mcp.door import MODERN, Ide, ide, say
from tests.server import RunningHub
from tests.web.caller import Caller
from tests.web.raw import connected
from tests.web.waiting import until

Answer = dict[str, Any]


def asking(one: Ide, *words: str, **more: Any) -> Task[Answer]:
    return asyncio.ensure_future(one.ask(*words, **more))


async def question_of(rest: Caller, served: RunningHub, asked: str) -> Answer:
    """The question that waits for `asked`, read there."""
    await until(lambda: served.hub.open_waits > 0)
    while not (messages := (await rest.receive(asked))["messages"]):
        pass
    question = messages[0]
    assert isinstance(question, dict)
    return question


async def test_the_reply_to_the_question_comes_back_and_other_mail_stays(
    rest: Caller, served: RunningHub, alpha: Ide
) -> None:
    waiting = asking(alpha, "alpha", "beta")
    question = await question_of(rest, served, "beta")
    for number in range(20):
        await rest.send(("gamma", "delta")[number % 2], "alpha", f"unrelated {number}")
    await rest.send("beta", "alpha", "another matter", reply_to="m_" + "x" * 22)
    await rest.send("beta", "alpha", "yes", reply_to=question["id"])
    told = await waiting
    assert (told["status"], told["reply"]["text"]) == ("replied", "yes")
    assert told["reply"]["reply_to"] == told["message_id"] == question["id"]
    assert told["unread"] == 21
    texts = [message["text"] for message in await alpha.read("alpha")]
    assert texts == [*(f"unrelated {number}" for number in range(20)), "another matter"]


async def test_a_reply_that_forgets_to_say_so_counts_when_the_asked_one_sends_it(
    rest: Caller, served: RunningHub, alpha: Ide
) -> None:
    waiting = asking(alpha, "alpha", "beta")
    await question_of(rest, served, "beta")
    await rest.send("gamma", "alpha", "not from the asked one")
    await rest.send("beta", "alpha", "yes")
    assert (await waiting)["reply"]["text"] == "yes"


async def test_eight_questions_of_one_agent_get_each_its_own_answer(
    rest: Caller, served: RunningHub, alpha: Ide
) -> None:
    waits = [asking(alpha, "alpha", f"agent-{n}", f"question {n}") for n in range(8)]
    await until(lambda: served.hub.open_waits == 8)
    told = await alpha.refused(
        "send_message_and_wait", sender_id="alpha", recipient_id="beta", message="a ninth"
    )
    assert (told["code"], told["retryable"]) == ("too_many_waits", True)
    for n in reversed(range(8)):
        [question] = (await rest.receive(f"agent-{n}"))["messages"]
        text = question["text"].replace("question", "answer")
        await rest.send(f"agent-{n}", "alpha", text, reply_to=question["id"])
    replies = [(await wait)["reply"]["text"] for wait in waits]
    assert replies == [f"answer {n}" for n in range(8)]


async def test_two_that_ask_each_other_cross_and_both_are_answered(
    served: RunningHub, alpha: Ide, era: str
) -> None:
    async with ide(served, era) as beta:
        first = asking(alpha, "alpha", "beta", "what is yours?")
        await until(lambda: served.hub.open_waits == 1)
        second = asking(beta, "beta", "alpha", "what is yours?")
        crossed = await first
        assert (crossed["status"], crossed["reply"]["from"]) == ("crossed", "beta")
        await alpha.send("alpha", "beta", "mine", reply_to=crossed["reply"]["id"])
        told = await second
        assert (told["status"], told["reply"]["text"]) == ("replied", "mine")
        [question] = await beta.read("beta")
        assert question["id"] == crossed["message_id"]
        await beta.send("beta", "alpha", "mine too", reply_to=question["id"])
        [reply] = await alpha.read("alpha")
        assert reply["text"] == "mine too"


async def test_a_reply_after_the_timeout_is_found_by_get_messages(
    rest: Caller, served: RunningHub, alpha: Ide, clock: ManualClock
) -> None:
    waiting = asking(alpha, "alpha", "beta", timeout=30)
    question = await question_of(rest, served, "beta")
    await clock.advance(30)
    told = await waiting
    assert (told["status"], told["reply"], told["message_id"]) == ("pending", None, question["id"])
    await rest.send("beta", "alpha", "at last", reply_to=question["id"])
    [reply] = await alpha.read("alpha")
    assert (reply["text"], reply["reply_to"]) == ("at last", question["id"])


async def test_who_gets_no_reply_hears_whether_the_asked_one_can_be_reached(
    rest: Caller, alpha: Ide, clock: ManualClock
) -> None:
    async def said(to: str) -> str:
        return await alpha.text(
            "send_message_and_wait", sender_id="alpha", recipient_id=to, message="?", timeout=0
        )

    await rest.register("beta")
    assert "`beta` is active. Do not ask `beta` again;" in await said("beta")
    missed = await said("Beta")
    assert "Nobody has checked in as `Beta` yet" in missed
    assert "Did you mean `beta`? Do not ask `Beta` again;" in missed
    await clock.advance(120)
    assert "`beta` is offline, last seen 2 min ago." in await said("beta")


@pytest.mark.parametrize("timeout", [58, 60, 61, 300])
async def test_without_progress_it_answers_before_common_clients_give_up(
    served: RunningHub, alpha: Ide, clock: ManualClock, timeout: float
) -> None:
    waiting = asking(alpha, "alpha", "beta", timeout=timeout)
    await until(lambda: served.hub.open_waits == 1)
    await clock.advance(SAFE_SECONDS - 0.5)
    assert not waiting.done()
    await clock.advance(1)
    assert (await waiting)["status"] == "pending"


async def test_with_a_progress_token_it_tells_of_itself_and_waits_as_long_as_asked(
    rest: Caller, served: RunningHub, alpha: Ide, clock: ManualClock
) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    arguments = {"sender_id": "alpha", "recipient_id": "beta", "message": "?", "timeout": 100}
    waiting = asyncio.ensure_future(
        alpha.client.call_tool("send_message_and_wait", arguments, progress_callback=tell)
    )
    question = await question_of(rest, served, "beta")
    for number in range(5):
        await clock.advance(PROGRESS_SECONDS)
        await until(lambda number=number: len(told) > number)  # type: ignore[misc]
    assert told == [(15.0 * n, 100.0, "waiting for beta") for n in range(1, 6)]
    await rest.send("beta", "alpha", "yes", reply_to=question["id"])
    result = await waiting
    assert isinstance(result.structured_content, dict)
    assert result.structured_content["reply"]["text"] == "yes"


async def test_a_client_that_hangs_up_frees_its_wait_within_a_second(
    rest: Caller, served: RunningHub, clock: ManualClock, era: str
) -> None:
    question = {"sender_id": "alpha", "recipient_id": "beta", "message": "?", "timeout": 50}
    async with connected(served) as connection:
        await say(connection, "send_message_and_wait", era, **question)
        await until(lambda: served.hub.open_waits == 1)
        connection.cut()
        for _ in range(int(1 / TICK_SECONDS)):
            await clock.advance(TICK_SECONDS)
        await until(lambda: served.hub.open_waits == 0)
    [asked] = (await rest.receive("beta"))["messages"]
    await rest.send("beta", "alpha", "too late", reply_to=asked["id"])
    [reply] = (await rest.receive("alpha"))["messages"]
    assert reply["text"] == "too late"


async def test_an_ide_that_cancels_its_call_frees_the_wait(
    served: RunningHub, clock: ManualClock
) -> None:
    """In the newest era a client cancels by closing the stream of the answer."""
    async with ide(served, MODERN) as alpha:
        waiting = asking(alpha, "alpha", "beta")
        await until(lambda: served.hub.open_waits == 1)
        waiting.cancel()

        async def freed() -> bool:
            await clock.advance(TICK_SECONDS)
            return served.hub.open_waits == 0

        await until(freed)
        assert await alpha.read("alpha") == []


async def test_the_same_call_after_a_lost_line_is_the_same_question(
    rest: Caller, served: RunningHub, alpha: Ide, clock: ManualClock, era: str
) -> None:
    question = {"sender_id": "alpha", "recipient_id": "beta", "message": "?"}
    async with connected(served) as connection:
        await say(connection, "send_message_and_wait", era, **question)
        await until(lambda: served.hub.open_waits == 1)
        connection.cut()

        async def freed() -> bool:
            await clock.advance(TICK_SECONDS)
            return served.hub.open_waits == 0

        await until(freed)
    waiting = asyncio.ensure_future(alpha.call("send_message_and_wait", **question))
    await until(lambda: served.hub.open_waits == 1)
    [asked] = (await rest.receive("beta"))["messages"]
    await rest.send("beta", "alpha", "yes", reply_to=asked["id"])
    assert (await waiting)["message_id"] == asked["id"]
    assert (await rest.look("beta"))["total"] == 0


async def test_the_same_key_gives_the_same_reply_again(
    rest: Caller, served: RunningHub, alpha: Ide
) -> None:
    waiting = asking(alpha, "alpha", "beta", idempotency_key="k1")
    question = await question_of(rest, served, "beta")
    await rest.send("beta", "alpha", "yes", reply_to=question["id"])
    first = await waiting
    again = await alpha.ask("alpha", "beta", idempotency_key="k1")
    assert again["reply"]["text"] == first["reply"]["text"] == "yes"
    assert again["message_id"] == question["id"]
    assert (await rest.look("beta"))["total"] == 0


async def test_nobody_waits_for_itself_or_for_all_or_for_ever(alpha: Ide) -> None:
    ask = {"sender_id": "alpha", "message": "?"}
    tool = "send_message_and_wait"
    assert (await alpha.refused(tool, recipient_id="alpha", **ask))["code"] == "wait_for_self"
    assert (await alpha.refused(tool, recipient_id="ALL", **ask))["code"] == "invalid"
    told = await alpha.refused(tool, recipient_id="beta", timeout=301, **ask)
    assert told["errors"] == [{"pointer": "/timeout", "detail": "0 to 300 seconds"}]

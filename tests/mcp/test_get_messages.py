"""get_messages hands each message out once, and loses none whose answer was not written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mcp_bridge.asgi import WRITE_SECONDS
from tests.clock import ManualClock
from tests.mcp.door import Ide, ide, say
from tests.server import RunningHub, running_hub
from tests.web.caller import Caller
from tests.web.raw import SMALL, connected
from tests.web.waiting import gone, until

MANY = 50


@pytest.fixture(params=[False, True], ids=["looking", "cancelling"])
async def served(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[RunningHub]:
    """A hub whose sockets hold little, with aiohttp cancelling handlers and without."""
    async with running_hub(clock=clock, holding=SMALL, cancelling=request.param) as served:
        yield served


async def test_the_second_call_has_nothing(rest: Caller, alpha: Ide) -> None:
    await rest.send("beta", "alpha", "one")
    await rest.send("beta", "alpha", "two")
    assert [message["text"] for message in await alpha.read("alpha")] == ["one", "two"]
    assert await alpha.read("alpha") == []
    assert await alpha.text("get_messages", client_id="alpha") == "No messages."


async def test_a_call_that_waits_returns_with_the_first_message(
    rest: Caller, served: RunningHub, alpha: Ide, clock: ManualClock, era: str
) -> None:
    async with ide(served, era) as beta:
        pending = clock.pending
        reading = asyncio.ensure_future(alpha.read("alpha", wait=50))
        await until(lambda: clock.pending > pending)
        await beta.send("beta", "alpha", "here")
        assert [message["text"] for message in await reading] == ["here"]
    assert await rest.states("alpha") == []


async def test_a_reader_that_dies_while_it_waits_leaves_its_mail_to_the_next(
    rest: Caller, served: RunningHub, alpha: Ide, clock: ManualClock, era: str
) -> None:
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, "get_messages", era, client_id="alpha", wait=50)
        await until(lambda: clock.pending > pending)
        connection.cut()
        await gone(clock, pending)
    await rest.send("beta", "alpha")
    [message] = await alpha.read("alpha")
    assert message["attempt"] == 1


async def test_mail_that_comes_before_the_hub_knows_that_its_reader_died_is_not_lost(
    rest: Caller, served: RunningHub, alpha: Ide, clock: ManualClock, era: str
) -> None:
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, "get_messages", era, client_id="alpha", wait=50)
        await until(lambda: clock.pending > pending)
        connection.cut()
        sent = await rest.send("beta", "alpha")
        await gone(clock, pending)
    assert await rest.states("alpha") == ["ready"]
    [message] = await alpha.read("alpha")
    assert message["id"] == sent["message_id"]


@pytest.mark.parametrize("wait", [0, 50])
async def test_a_reader_that_dies_while_its_answer_is_written_loses_nothing(
    rest: Caller, served: RunningHub, alpha: Ide, clock: ManualClock, era: str, wait: int
) -> None:
    sent = [(await rest.send("beta", "alpha", "x" * 16_000))["message_id"] for _ in range(4)]
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, "get_messages", era, client_id="alpha", wait=wait)
        await until(lambda: clock.pending > pending)
        assert await rest.states("alpha") == ["leased"] * 4
        connection.cut()
        await gone(clock, pending)
    assert await rest.states("alpha") == ["ready"] * 4
    messages = await alpha.read("alpha")
    assert [message["id"] for message in messages] == sent
    assert [message["attempt"] for message in messages] == [2] * 4


async def test_a_reader_that_does_not_read_is_given_up_and_loses_nothing(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    for _ in range(4):
        await rest.send("beta", "alpha", "x" * 16_000)
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, "get_messages", client_id="alpha")
        await until(lambda: clock.pending > pending)
        await clock.advance(WRITE_SECONDS)
        assert await rest.states("alpha") == ["ready"] * 4


async def test_a_cursor_reads_again_what_was_read_after_it(rest: Caller, alpha: Ide) -> None:
    for text in ("one", "two", "three"):
        await rest.send("beta", "alpha", text)
    [one, *_] = await alpha.read("alpha")
    await rest.send("beta", "alpha", "four")
    told = await alpha.call("get_messages", client_id="alpha", since=one["cursor"])
    assert [message["text"] for message in told["messages"]] == ["two", "three", "four"]
    assert [message["attempt"] for message in told["messages"]] == [2, 2, 1]
    assert told["recovered"] is True
    assert await alpha.read("alpha", since=told["cursor"]) == []


async def test_no_message_is_skipped_when_more_was_read_than_one_call_shows(
    rest: Caller, alpha: Ide
) -> None:
    first = await rest.send("beta", "alpha", "first")
    texts = [str(number) for number in range(MANY + 20)]
    for text in texts:
        await rest.send("beta", "alpha", text)
    while await alpha.read("alpha"):
        pass
    await rest.send("beta", "alpha", "last")
    cursor = f"{first['epoch']}:{first['seq']}"
    again: list[str] = []
    while len(again) <= len(texts):
        told = await alpha.call("get_messages", client_id="alpha", since=cursor)
        again += [message["text"] for message in told["messages"]]
        cursor = told["cursor"]
    assert again == [*texts, "last"]


async def test_one_call_hands_out_at_most_fifty_and_says_how_many_more_wait(
    rest: Caller, alpha: Ide
) -> None:
    for number in range(MANY + 3):
        await rest.send("beta", "alpha", str(number))
    result = await alpha.result("get_messages", client_id="alpha")
    assert isinstance(result.structured_content, dict)
    assert len(result.structured_content["messages"]) == MANY
    assert result.structured_content["unread"] == 3
    assert "3 unread messages from beta: call get_messages." in str(result.content)


async def test_one_call_hands_out_at_most_64_kib(rest: Caller, alpha: Ide) -> None:
    for _ in range(5):
        await rest.send("beta", "alpha", "x" * 30_000)
    told = await alpha.call("get_messages", client_id="alpha")
    assert (len(told["messages"]), told["unread"]) == (2, 3)


async def test_a_cursor_that_is_none_is_refused_by_its_name(alpha: Ide) -> None:
    told = await alpha.refused("get_messages", client_id="alpha", since="yesterday")
    assert (told["code"], told["errors"][0]["pointer"]) == ("invalid", "/since")

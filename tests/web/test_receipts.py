"""A client that goes away loses nothing, whenever it goes.

Each test runs twice: served as the hub is served, where a handler learns of a lost connection by
looking, and with aiohttp cancelling the handler midway through whatever it does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent_hub.web.attendance import WRITE_SECONDS
from tests.clock import ManualClock
from tests.server import RunningHub, running_hub
from tests.web.caller import MESSAGES, RECEIVE, Caller
from tests.web.raw import SMALL, RawConnection, connected
from tests.web.waiting import gone, until

LARGE = "x" * 200_000


@pytest.fixture(params=[False, True], ids=["looking", "cancelling"])
async def served(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[RunningHub]:
    """A hub whose sockets hold little, so that a large answer cannot be written unread."""
    async with running_hub(clock=clock, holding=SMALL, cancelling=request.param) as served:
        yield served


async def say(connection: RawConnection, path: str, **body: Any) -> None:
    await connection.request("POST", path, json.dumps(body).encode())


async def test_a_reader_that_goes_while_it_waits_leaves_its_mail_to_the_next(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, RECEIVE, agent_id="alpha", wait=50)
        await until(lambda: clock.pending > pending)
        connection.cut()
        await gone(clock, pending)
    await rest.send("beta", "alpha")
    [message] = (await rest.receive("alpha"))["messages"]
    assert message["attempt"] == 1


async def test_mail_that_comes_before_the_hub_knows_that_its_reader_went_is_ready_again(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, RECEIVE, agent_id="alpha", wait=50)
        await until(lambda: clock.pending > pending)
        connection.cut()
        sent = await rest.send("beta", "alpha")
        await gone(clock, pending)
    assert await rest.states("alpha") == ["ready"]
    [message] = (await rest.receive("alpha"))["messages"]
    assert message["id"] == sent["message_id"]


@pytest.mark.parametrize("ack", ["auto", "manual"])
async def test_a_reader_that_goes_before_its_answer_is_written_loses_nothing(
    rest: Caller, served: RunningHub, clock: ManualClock, ack: str
) -> None:
    for _ in range(4):
        await rest.send("beta", "alpha", LARGE)
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, RECEIVE, agent_id="alpha", ack=ack)
        await until(lambda: clock.pending > pending)
        assert await rest.states("alpha") == ["leased"] * 4
        connection.cut()
        await gone(clock, pending)
    assert await rest.states("alpha") == ["ready"] * 4
    assert [m["attempt"] for m in (await rest.receive("alpha"))["messages"]] == [2] * 4


async def test_a_reader_that_does_not_read_is_given_up_and_loses_nothing(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    for _ in range(4):
        await rest.send("beta", "alpha", LARGE)
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, RECEIVE, agent_id="alpha")
        await until(lambda: clock.pending > pending)
        await clock.advance(WRITE_SECONDS)
        assert await rest.states("alpha") == ["ready"] * 4


async def test_giving_back_is_not_the_messages_fault_however_often(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    sent = await rest.send("beta", "alpha", LARGE)
    pending = clock.pending
    for _ in range(8):
        async with connected(served, holding=SMALL) as connection:
            await say(connection, RECEIVE, agent_id="alpha")
            await until(lambda: clock.pending > pending)
            assert await rest.states("alpha") == ["leased"]
            connection.cut()
            await gone(clock, pending)
    assert await rest.standing("beta", sent["message_id"]) == {"alpha": "ready"}


async def test_a_reader_that_goes_at_once_loses_at_most_what_it_can_read_again(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    """Bytes that the kernel took are no proof: what was acked so is kept for the cursor."""
    await rest.send("beta", "alpha")
    since = (await rest.receive("alpha"))["cursor"]
    sent = [(await rest.send("beta", "alpha"))["message_id"] for _ in range(3)]
    for _ in range(10):
        async with connected(served, holding=SMALL) as connection:
            await say(connection, RECEIVE, agent_id="alpha", limit=1)
            connection.cut()
    page = await rest.look("alpha", since=since)
    assert [message["id"] for message in page["messages"]] == sent
    assert page["recovered"] is True


async def test_an_asker_that_goes_while_it_waits_finds_the_reply_as_mail(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        question = {"from": "beta", "to": "alpha", "text": "ready?"}
        await say(connection, MESSAGES, **question, wait=300)
        await until(lambda: served.hub.open_waits == 1)
        connection.cut()
        await gone(clock, pending)
    assert served.hub.open_waits == 0
    [asked] = (await rest.receive("alpha"))["messages"]
    await rest.send("alpha", "beta", "yes", reply_to=asked["id"])
    [reply] = (await rest.receive("beta"))["messages"]
    assert reply["text"] == "yes"


async def test_a_reply_that_could_not_be_written_is_mail_again(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        question = {"from": "beta", "to": "alpha", "text": "ready?"}
        await say(connection, MESSAGES, **question, wait=300)
        await until(lambda: served.hub.open_waits == 1)
        await rest.send("alpha", "beta", LARGE)
        assert await rest.states("beta") == ["leased"]
        connection.cut()
        await gone(clock, pending)
    assert served.hub.open_waits == 0
    assert await rest.states("beta") == ["ready"]
    [reply] = (await rest.receive("beta"))["messages"]
    assert reply["text"] == LARGE


async def test_the_same_question_again_after_a_lost_line_is_the_same_question(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    question = {"from": "beta", "to": "alpha", "text": "ready?", "wait": 300}
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await say(connection, MESSAGES, **question)
        await until(lambda: served.hub.open_waits == 1)
        connection.cut()
        await gone(clock, pending)
    async with connected(served, holding=SMALL) as connection:
        await say(connection, MESSAGES, **question)
        await until(lambda: served.hub.open_waits == 1)
        [asked] = (await rest.receive("alpha"))["messages"]
        await rest.send("alpha", "beta", "yes", reply_to=asked["id"])
        told = (await connection.answer()).json()
    assert (told["status"], told["message_id"]) == ("replied", asked["id"])
    assert (await rest.look("alpha"))["total"] == 0


async def test_a_looker_that_goes_while_it_waits_leaves_nothing_behind(
    served: RunningHub, clock: ManualClock
) -> None:
    pending = clock.pending
    async with connected(served, holding=SMALL) as connection:
        await connection.request("GET", f"{MESSAGES}?agent_id=alpha&wait=50")
        await until(lambda: clock.pending > pending)
        connection.cut()
        await gone(clock, pending)
    assert clock.pending == pending


async def test_a_sender_that_goes_before_its_answer_has_sent_all_or_nothing(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    for n in range(20):
        async with connected(served, holding=SMALL) as connection:
            await say(connection, MESSAGES, **{"from": "beta", "to": "alpha", "text": str(n)})
            connection.cut()
    page = await rest.look("alpha")
    seqs = [int(message["cursor"].split(":")[1]) for message in page["messages"]]
    assert seqs == list(range(1, page["total"] + 1))
    assert (await served.hub.totals()).accepted == page["total"]

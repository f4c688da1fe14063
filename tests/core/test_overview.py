"""What an operator sees of the inboxes: which ones first, and whose they are."""

from __future__ import annotations

from typing import Any

import pytest

from agent_hub.core.agent import GRACE_SECONDS, Agent, Status
from agent_hub.core.errors import Invalid
from agent_hub.core.hub import Hub
from agent_hub.core.message import Draft
from tests.clock import ManualClock
from tests.core.calls import ANYONE, receive, register, send


async def listed(hub: Hub, **options: Any) -> list[str]:
    return [backlog.agent_id for backlog, _ in (await hub.inboxes(ANYONE, **options)).shown]


async def fill(hub: Hub, clock: ManualClock) -> None:
    """Old has the oldest unread message, much the most, and of taken nothing lies unread."""
    for to, count in (("taken", 2), ("old", 1), ("much", 3)):
        for _ in range(count):
            await send(hub, to=to)
        clock.pass_by(1)
    await hub.settle(ANYONE, "read", ack=[(await send(hub, to="read")).receipt.message_id])
    async with await hub.receive(ANYONE, "taken", lease=60) as taking:
        await taking.leased()
        taking.taken = True


async def test_the_inbox_of_the_oldest_unread_message_comes_first(
    hub: Hub, clock: ManualClock
) -> None:
    await fill(hub, clock)
    assert await listed(hub) == ["old", "much", "taken"]


async def test_or_that_of_the_most_messages(hub: Hub, clock: ManualClock) -> None:
    await fill(hub, clock)
    assert await listed(hub, sort="messages") == ["much", "taken", "old"]


async def test_as_many_are_shown_as_were_asked_for_and_all_are_counted(
    hub: Hub, clock: ManualClock
) -> None:
    await fill(hub, clock)
    found = await hub.inboxes(ANYONE, limit=1)
    assert ([backlog.agent_id for backlog, _ in found.shown], found.total) == (["old"], 3)


async def test_those_that_are_alike_stand_in_the_order_of_their_names(hub: Hub) -> None:
    for to in ("c", "a", "b"):
        await send(hub, to=to)
    for sort in ("oldest", "messages"):
        assert await listed(hub, sort=sort, limit=2) == ["a", "b"]


async def test_each_says_how_its_agent_is_or_that_nobody_registered_it(
    hub: Hub, clock: ManualClock
) -> None:
    await register(hub, "away")
    clock.pass_by(GRACE_SECONDS + 1)
    await register(hub, "here")
    await hub.heartbeat(ANYONE, "here", "busy")
    for to in ("away", "here", "nobody"):
        await hub.send(ANYONE, Draft(sender="beta", to=to, text="x"))
    found = await hub.inboxes(ANYONE)
    assert {backlog.agent_id: status for backlog, status in found.shown} == {
        "away": Status.OFFLINE,
        "here": Status.BUSY,
        "nobody": None,
    }
    await hub.deregister(ANYONE, "away")
    assert (await hub.inboxes(ANYONE)).shown[0][1] is None


async def test_to_look_changes_nothing(hub: Hub) -> None:
    await hub.register(ANYONE, Agent(agent_id="alpha"))
    await send(hub)
    before = await hub.inboxes(ANYONE)
    assert await hub.inboxes(ANYONE) == before
    [delivery] = (await receive(hub)).deliveries
    assert delivery.attempt == 1


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"sort": "newest"}, "?sort"),
        ({"sort": ""}, "?sort"),
        ({"limit": 0}, "?limit"),
        ({"limit": 1_001}, "?limit"),
    ],
)
async def test_what_it_cannot_show_is_refused(
    hub: Hub, options: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.inboxes(ANYONE, **options)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]

"""Keys that something else wrote to: what concerns others goes on, and the log says it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent_hub.core.limits import Limits
from tests.backends.mail import send, take, tell_senders
from tests.backends.redis_stores import TemporaryRedis
from tests.clock import ManualClock

ROUND = 61.0


@pytest.fixture
async def node(clock: ManualClock) -> AsyncIterator[TemporaryRedis]:
    node = TemporaryRedis(clock, Limits())
    await node.open()
    yield node
    await node.close()


async def damage(node: TemporaryRedis, agent_id: str, name: str) -> None:
    await node._store.ask((("SET", node._store.keys(agent_id, name), "something else"),))


async def notices(node: TemporaryRedis, agent_id: str) -> int:
    return sum(d.message.type == "hub.undelivered" for d in await take(node, agent_id))


async def test_an_inbox_that_cannot_be_read_keeps_no_other_from_expiring(
    node: TemporaryRedis, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await send(node, "a", to="wrong", ttl=1.0)
    await send(node, "a", to="right", ttl=1.0)
    await node._store.ask((("SET", node._store.keys("wrong", "box"), "not an inbox"),))
    clock.pass_by(2.0)
    await node.sweep()
    assert "the inbox of wrong cannot be swept" in caplog.text
    assert [ended.recipient for ended in await node.undelivered(10)] == ["right"]


async def test_an_inbox_that_cannot_be_read_hides_no_other_from_the_totals(
    node: TemporaryRedis, caplog: pytest.LogCaptureFixture
) -> None:
    await send(node, "a", to="wrong")
    await send(node, "a", "b", to="right")
    box = node._store.keys("wrong", "box")
    (whole,) = await node._store.ask((("GET", box),))
    await node._store.ask((("SET", box, "not an inbox"),))
    for _ in range(2):
        totals = await node.totals()
        assert (totals.inboxes, totals.accepted, totals.ready) == (1, 2, 2)
        assert [backlog.agent_id for backlog in await node.backlogs()] == ["right"]
    assert caplog.text.count("the inbox of wrong cannot be counted") == 1
    await node._store.ask((("SET", box, whole),))
    assert (await node.totals()).accepted == 3


async def test_what_ended_where_it_cannot_be_read_keeps_no_other_ending_from_its_sender(
    node: TemporaryRedis, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    said = "what ended in the inbox of wrong cannot be read"
    for round_ in (1, 2):
        await send(node, "a", to="wrong", ttl=1.0)
        await send(node, "a", to="right", ttl=1.0)
        clock.pass_by(2.0)
        await node.sweep()
        await damage(node, "wrong", "ended")
        for _ in range(3):
            assert {ended.recipient for ended in await node.undelivered(10)} <= {"right"}
            await tell_senders(node)
        assert await notices(node, "beta") == 1
        assert caplog.text.count(said) == round_
        await node._store.ask((("UNLINK", node._store.keys("wrong", "ended")),))
        assert await node.undelivered(10) == []


@pytest.mark.parametrize("name", ["box", "notices", "told"])
async def test_a_sender_who_cannot_be_told_keeps_no_other_from_being_told(
    node: TemporaryRedis, clock: ManualClock, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    for agent_id in ("wrong", "right"):
        await send(node, "mail of its own", to=agent_id, sender="gamma")
        await send(node, "a", "b", sender=agent_id, ttl=1.0)
    clock.pass_by(2.0)
    await damage(node, "wrong", name)
    await tell_senders(node)
    assert await notices(node, "right") == 1
    assert caplog.text.count("no notice can be written to wrong") == 1
    assert await node.undelivered(10) == []


async def test_an_index_of_endings_that_cannot_be_read_is_made_anew(
    node: TemporaryRedis, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await send(node, "a", ttl=1.0)
    clock.pass_by(2.0)
    await node.sweep()
    await damage(node, "hub", "endings")
    for _ in range(2):
        assert await node.undelivered(10) == []
    assert caplog.text.count("{hub}:endings holds something else") == 1
    clock.pass_by(ROUND)
    await tell_senders(node)
    assert await notices(node, "beta") == 1


async def test_an_inbox_that_cannot_be_read_and_was_to_go_ends_no_round_of_the_sweep(
    node: TemporaryRedis, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    keys = node._store.keys
    for agent_id in ("wrong", "right"):
        await send(node, "a", to=agent_id)
        # What a node leaves that ends in the middle of letting an inbox go.
        await node._store.ask((("HSET", keys.hub("folding"), f"{agent_id} before", b"\x80"),))
    await damage(node, "wrong", "box")
    for _ in range(3):
        clock.pass_by(ROUND)
        await node.sweep()
    (left,) = await node._store.ask((("HKEYS", keys.hub("folding")),))
    assert left == [b"wrong before"]
    assert caplog.text.count("what is set aside of wrong before cannot join the sums") == 1
    assert caplog.text.count("the inbox of wrong cannot be swept") == 1
    await node._store.ask((("UNLINK", keys("wrong", "box")),))
    clock.pass_by(ROUND)
    await node.sweep()
    assert await node._store.ask((("EXISTS", keys.hub("folding")),)) == [0]


async def test_what_cannot_be_followed_up_in_one_inbox_leaves_nobody_else_waiting(
    clock: ManualClock,
) -> None:
    """The name of a sender that is no text any more, in the one answer of several that says it."""
    node = TemporaryRedis(clock, Limits(kept_messages=0, settled_messages=0))
    await node.open()
    [receipt] = await send(node, "a", to="wrong")
    mail, record = node._store.keys("wrong", "mail"), f":{receipt.message_id}"
    (whole,) = await node._store.ask((("HGET", mail, record),))
    await node._store.ask((("HSET", mail, record, whole.replace(b"beta", b"\xffeta")),))
    wrong, right = await asyncio.gather(
        node.ack("wrong", [receipt.message_id]), send(node, "a", to="right"), return_exceptions=True
    )
    assert isinstance(wrong, ValueError)
    assert not isinstance(right, BaseException)
    await node.close()

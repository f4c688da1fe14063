"""Two nodes on one Redis: what one does the other sees; what one was outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent_hub.clock import SystemClock
from agent_hub.core.agent import Agent, Status
from agent_hub.core.hub import Hub
from agent_hub.core.limits import Limits
from agent_hub.core.mail import State, WaitState
from agent_hub.core.message import ALL, Cursor
from agent_hub.queue_backends.redis.backend import RedisBackend
from tests.backends.mail import fail, ids, letter, send, state_of, stream, take, tell_senders, texts
from tests.backends.redis_stores import TemporaryRedis, server
from tests.backends.test_registry import Bell
from tests.clock import ManualClock

Nodes = tuple[TemporaryRedis, TemporaryRedis]


@pytest.fixture
async def nodes(clock: ManualClock) -> AsyncIterator[Nodes]:
    one = TemporaryRedis(clock, Limits())
    other = one.another()
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()


# --- at the same time ---------------------------------------------------------------------


async def test_mail_is_read_on_another_node_and_acked_on_the_first(nodes: Nodes) -> None:
    one, other = nodes
    bell = Bell()
    other.watch("alpha", bell)
    await bell.rang()
    [receipt] = await send(one, "hello")
    assert await bell.rang()
    assert texts(await take(other)) == ["hello"]
    assert await take(one) == []
    assert len(await one.ack("alpha", [receipt.message_id])) == 1
    assert await state_of(other, receipt.message_id) is State.ACKED


async def test_agents_are_the_same_on_all_nodes(nodes: Nodes) -> None:
    one, other = nodes
    await one.put_agent(Agent(agent_id="alpha", name="Alpha"))
    await other.put_agent(Agent(agent_id="beta"))
    await other.touch_agent("alpha", Status.BUSY)
    assert [agent.agent_id for agent in await one.agents()] == ["alpha", "beta"]
    assert (await one.agents()) == (await other.agents())
    alpha = await one.agent("alpha")
    assert alpha is not None
    assert alpha.status is Status.BUSY


async def test_a_question_is_answered_on_another_node(nodes: Nodes) -> None:
    one, other = nodes
    await one.open_wait("beta", "m_q", "alpha", seconds=60)
    bell = Bell()
    one.watch("beta", bell, question_id="m_q")
    await bell.rang()
    await one.send(letter("?", message_id="m_q", asking_since=0.0))
    assert texts(await take(other)) == ["?"]
    await other.send(letter("!", sender="alpha", to="beta", reply_to="m_q"))
    assert await bell.rang()
    wait = await one.wait("beta", "m_q")
    assert wait is not None
    assert wait.state is WaitState.REPLIED
    assert await take(other, "beta") == []


async def test_a_broadcast_reaches_inboxes_once_whichever_node_retries_it(nodes: Nodes) -> None:
    one, other = nodes
    claimed = await one.claim("beta", "k", b"x", "m_1")
    assert await other.claim("beta", "k", b"x", "m_2") == claimed
    for node in nodes:
        for to in ("alpha", "gamma"):
            await node.send(letter("all", to=to, broadcast=True, message_id=claimed))
    assert texts(await take(one)) == ["all"]
    assert texts(await take(other, "gamma")) == ["all"]
    standings = await other.standings("beta", claimed)
    assert sorted(standing.recipient for standing in standings) == ["alpha", "gamma"]


async def test_who_takes_over_on_another_node_replaces_and_gets_what_was_held(
    nodes: Nodes,
) -> None:
    one, other = nodes
    bell = Bell()
    await one.occupy("alpha", "old", bell)
    await send(one, "a")
    await one.lease("alpha", "l", limit=1, max_bytes=99, seconds=None, stream_id="old")
    assert not await bell.rang()
    assert [d.attempt for d in await stream(other)] == [2]
    assert await bell.rang()
    assert not await one.renew("alpha", "old")
    await one.vacate("alpha", "old")
    assert await other.renew("alpha", "stream")


async def test_a_place_that_nobody_renews_is_given_up(nodes: Nodes, clock: ManualClock) -> None:
    one, other = nodes
    await one.occupy("alpha", "old", lambda: None)
    await send(one, "a")
    held = await one.lease("alpha", "l", limit=1, max_bytes=99, seconds=None, stream_id="old")
    clock.pass_by(29)
    assert await take(other) == []
    clock.pass_by(1)
    assert [d.attempt for d in await take(other)] == [held[0].attempt + 1]
    assert await one.renew("alpha", "old"), "an empty place is taken again"


async def test_a_hundred_sends_of_one_key_over_two_nodes_are_one_message(nodes: Nodes) -> None:
    letters = [letter("a", key="k") for _ in range(100)]
    receipts = await asyncio.gather(
        *(nodes[number % 2].send(one) for number, one in enumerate(letters))
    )
    assert len({receipt.message_id for receipt in receipts}) == 1
    assert sum(not receipt.replayed for receipt in receipts) == 1
    assert len(await take(nodes[0])) == 1


async def test_an_ending_is_told_once_whichever_node_tells_it(
    nodes: Nodes, clock: ManualClock
) -> None:
    one, other = nodes
    await send(one, "a", "b", ttl=5)
    clock.pass_by(5)
    await one.sweep()
    ended = await one.undelivered(10)
    told = await asyncio.gather(
        *(node.notice(ending) for ending in ended for node in (one, other, one))
    )
    assert sum(told) == 1
    await other.noted(ended)
    assert await one.undelivered(10) == []
    assert [await one.notice(ending) for ending in ended] == [False, False]
    [notice] = await take(other, "beta")
    assert b'"count":2' in notice.message.payload


async def test_one_of_all_nodes_tells_the_totals_and_those_of_one_port_alike(
    clock: ManualClock,
) -> None:
    one = TemporaryRedis(clock, Limits())
    nodes = [one, one.another(), one.another()]
    for node, group in zip(nodes, ["a", "a", "b"], strict=True):
        node._group = group
        await node.open()
    assert [await node.tells_totals() for node in nodes] == [True, True, False]
    for node in nodes:
        await node.close()


# --- one after the other ------------------------------------------------------------------


async def test_all_that_was_known_is_known_to_a_node_that_comes_later(clock: ManualClock) -> None:
    before = TemporaryRedis(clock, Limits())
    await before.open()
    await before.put_agent(Agent(agent_id="alpha", name="Alpha", metadata=b'{"a":1}'))
    await before.touch_agent("alpha", Status.IDLE)
    kept, dead, owed, _ = await send(before, "kept", "dead", "owed", "key")
    await before.ack("alpha", [kept.message_id])
    lease = await take(before, lease_id="l", limit=1)
    assert ids(lease) == [dead.message_id]
    await before.release("alpha", "l", None, failure=True)
    for _ in range(Limits().failures):
        await take(before, lease_id="l", limit=1)
        await before.release("alpha", "l", None, failure=True)
    keyed = await before.send(letter("once", key="k"))
    claimed = await before.claim("beta", "k", b"x", "m_1")
    page = await before.look("alpha", Cursor(kept.epoch, 0), 10)
    totals = await before.totals()
    await before.close()

    after = before.another()
    await after.open()
    alpha = await after.agent("alpha")
    assert alpha is not None
    assert (alpha.name, alpha.status, alpha.metadata) == ("Alpha", Status.IDLE, b'{"a":1}')
    assert await after.look("alpha", Cursor(kept.epoch, 0), 10) == page
    assert not page.recovered, "the dead one is a gap"
    assert (await after.look("alpha", Cursor(kept.epoch, dead.seq), 10)).recovered
    assert await state_of(after, dead.message_id) is State.DEAD
    assert await state_of(after, kept.message_id, "beta") is State.ACKED
    assert (await after.send(letter("once", key="k"))).message_id == keyed.message_id
    assert await after.claim("beta", "k", b"x", "m_2") == claimed
    assert await after.totals() == totals
    assert owed.message_id in ids(await take(after))
    await tell_senders(after)
    assert [d.message.type for d in await take(after, "beta")] == ["hub.undelivered"]
    await after.close()


async def test_what_a_node_that_is_gone_had_taken_is_ready_after_a_while(
    nodes: Nodes, clock: ManualClock
) -> None:
    one, other = nodes
    await send(one, "a", "b")
    await take(one, limit=1)
    await take(one, limit=1, seconds=10)
    clock.pass_by(60)
    assert texts(await take(other)) == ["a", "b"]


async def test_an_inbox_that_goes_takes_no_count_with_it(clock: ManualClock) -> None:
    node = TemporaryRedis(clock, Limits())
    await node.open()
    await send(node, "a", "b", ttl=5)
    await fail(node, Limits().failures + 1)
    for _ in range(3):
        clock.pass_by(700)
        await node.sweep()
    totals = await node.totals()
    assert (totals.inboxes, totals.accepted, totals.dead) == (0, 2, 2)
    assert (await node.undelivered(10))[0].sender == "beta"
    assert ALL not in {one.recipient for one in await node.undelivered(10)}
    await node.close()


class Wrong(SystemClock):
    """The clock of a machine that nobody has set."""

    fast = 7_200.0

    def time(self) -> float:
        return super().time() + self.fast


async def test_who_is_here_does_not_hang_on_the_clock_of_a_node() -> None:
    backend = RedisBackend(server(cluster=False).url, prefix="clocks")
    clock = Wrong()
    hub = Hub(backend, clock)
    await backend.open()
    for fast in (7_200.0, -7_200.0):
        clock.fast = fast
        await backend.sweep()
        await backend.put_agent(Agent(agent_id="alpha"))
        assert dict(await hub.census()) == {Status.ACTIVE: 1}
    await backend.remove_agent("alpha")
    await backend.close()

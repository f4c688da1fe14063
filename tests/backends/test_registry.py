"""The register of agents, and who is woken by what."""

from __future__ import annotations

import asyncio

import pytest

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import AgentTaken
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import kill, letter, send, take, texts
from tests.clock import ManualClock, settle

DAY = 24 * 3_600.0


async def test_an_agent_is_registered_as_it_says(backend: QueueBackend, clock: ManualClock) -> None:
    agent = Agent(
        agent_id="alpha",
        session_id="s",
        name="Alpha",
        capabilities=("a", "b"),
        metadata=b'{"x":1}',
        status=Status.BUSY,
        last_seen=1.0,
        registered_at=2.0,
    )
    assert await backend.put_agent(agent)
    now = clock.time()
    assert await backend.agent("alpha") == Agent(
        agent_id="alpha",
        session_id="s",
        name="Alpha",
        capabilities=("a", "b"),
        metadata=b'{"x":1}',
        status=Status.BUSY,
        last_seen=now,
        registered_at=now,
    )


async def test_a_known_agent_is_replaced_and_stays_known_since_then(
    backend: QueueBackend, clock: ManualClock
) -> None:
    registered_at = clock.time()
    await backend.put_agent(Agent(agent_id="alpha", name="old"))
    await backend.put_agent(Agent(agent_id="beta"))
    await clock.advance(10)
    assert not await backend.put_agent(Agent(agent_id="alpha", name="new"))
    agent = await backend.agent("alpha")
    assert agent is not None
    assert (agent.name, agent.registered_at) == ("new", registered_at)
    assert agent.last_seen == clock.time()
    assert [agent.agent_id for agent in await backend.agents()] == ["alpha", "beta"]


async def test_an_agent_stays_its_owners_until_it_is_removed(backend: QueueBackend) -> None:
    await backend.put_agent(Agent(agent_id="alpha", owner="one"))
    with pytest.raises(AgentTaken):
        await backend.put_agent(Agent(agent_id="alpha", name="mine now", owner="another"))
    assert not await backend.put_agent(Agent(agent_id="alpha", name="new", owner="one"))
    agent = await backend.agent("alpha")
    assert agent is not None
    assert (agent.name, agent.owner) == ("new", "one")
    await backend.remove_agent("alpha")
    assert await backend.put_agent(Agent(agent_id="alpha", owner="another"))


async def test_an_agent_of_nobody_can_become_somebodys_and_not_the_other_way_round(
    backend: QueueBackend,
) -> None:
    await backend.put_agent(Agent(agent_id="alpha"))
    await backend.put_agent(Agent(agent_id="alpha", owner="one"))
    await backend.put_agent(Agent(agent_id="alpha"))
    agent = await backend.agent("alpha")
    assert agent is not None
    assert agent.owner == "one"


async def test_of_two_who_register_an_agent_at_once_one_has_it(backend: QueueBackend) -> None:
    outcomes = await asyncio.gather(
        *(backend.put_agent(Agent(agent_id="alpha", owner=owner)) for owner in ("one", "another")),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [bool, AgentTaken]
    agent = await backend.agent("alpha")
    assert agent is not None
    assert agent.owner == "one"


async def test_agents_are_listed_oldest_first(backend: QueueBackend, clock: ManualClock) -> None:
    for agent_id in ("c", "a", "b"):
        await backend.put_agent(Agent(agent_id=agent_id))
        await clock.advance(1)
    await backend.remove_agent("c")
    await backend.put_agent(Agent(agent_id="c"))
    assert [agent.agent_id for agent in await backend.agents()] == ["a", "b", "c"]


async def test_a_sign_of_life_renews(backend: QueueBackend, clock: ManualClock) -> None:
    await backend.put_agent(Agent(agent_id="alpha"))
    await clock.advance(10)
    agent = await backend.touch_agent("alpha")
    assert agent is not None
    assert agent.last_seen == clock.time()
    assert agent.status == Status.ACTIVE
    await backend.touch_agent("alpha", Status.BUSY)
    agent = await backend.touch_agent("alpha")
    assert agent is not None
    assert agent.status == Status.BUSY
    assert agent == await backend.agent("alpha")


async def test_nobody_is_registered_by_a_sign_of_life_by_mail_or_by_reading(
    backend: QueueBackend,
) -> None:
    assert await backend.touch_agent("alpha", Status.BUSY) is None
    await send(backend, "x")
    await take(backend)
    assert await backend.agents() == []
    assert await backend.agent("alpha") is None
    assert not await backend.remove_agent("alpha")


async def test_a_registration_ends_and_the_mail_stays(backend: QueueBackend) -> None:
    await backend.put_agent(Agent(agent_id="alpha"))
    await send(backend, "x")
    assert await backend.remove_agent("alpha")
    assert await backend.agent("alpha") is None
    assert not await backend.remove_agent("alpha")
    assert texts(await take(backend)) == ["x"]


async def test_a_registration_ends_a_day_after_the_last_sign_of_life(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.put_agent(Agent(agent_id="silent"))
    await backend.put_agent(Agent(agent_id="alive"))
    await clock.advance(DAY - 1)
    await backend.sweep()
    assert await backend.touch_agent("alive") is not None
    assert len(await backend.agents()) == 2
    await clock.advance(1)
    await backend.sweep()
    assert [agent.agent_id for agent in await backend.agents()] == ["alive"]


async def test_a_receipt_says_whether_the_recipient_is_known(backend: QueueBackend) -> None:
    assert (await send(backend, "x"))[0].recipient is None
    await backend.put_agent(Agent(agent_id="alpha", name="Alpha"))
    assert (await send(backend, "x"))[0].recipient == await backend.agent("alpha")


# --- wake-ups -----------------------------------------------------------------------------


class Bell:
    """Counts how often it was rung since it was last asked."""

    def __init__(self) -> None:
        self._rung = 0

    def __call__(self) -> None:
        self._rung += 1

    async def rang(self) -> bool:
        await settle()
        rung, self._rung = self._rung, 0
        return rung > 0


async def test_mail_wakes_every_reader_of_the_inbox(backend: QueueBackend) -> None:
    bells = [Bell(), Bell()]
    for bell in bells:
        backend.watch("alpha", bell)
    await send(backend, "x")
    assert [await bell.rang() for bell in bells] == [True, True]


@pytest.mark.parametrize("how", ["released", "failed", "run out"])
async def test_what_is_ready_again_wakes(
    backend: QueueBackend, clock: ManualClock, how: str
) -> None:
    await send(backend, "x")
    await take(backend, lease_id="mine", seconds=10 if how == "run out" else None)
    bell = Bell()
    backend.watch("alpha", bell)
    if how == "run out":
        await clock.advance(10)
        await backend.sweep()
    else:
        await backend.release("alpha", "mine", None, failure=how == "failed")
    assert await bell.rang()


async def test_a_closed_watch_is_not_woken(backend: QueueBackend) -> None:
    closed, other = Bell(), Bell()
    watch = backend.watch("alpha", closed)
    backend.watch("alpha", other)
    watch.close()
    watch.close()
    await send(backend, "x")
    assert not await closed.rang()
    assert await other.rang()


async def test_a_reader_may_go_while_it_is_woken(backend: QueueBackend) -> None:
    last = Bell()

    def go() -> None:
        watch.close()

    watch = backend.watch("alpha", go)
    backend.watch("alpha", last)
    await send(backend, "x")
    assert await last.rang()


async def test_a_reply_wakes_its_asker(backend: QueueBackend) -> None:
    asker, other = Bell(), Bell()
    backend.watch("alpha", asker, question_id="m_question")
    backend.watch("alpha", other, question_id="m_other")
    await backend.open_wait("alpha", "m_question", "beta", seconds=60)
    await asker.rang()  # who begins to watch may be woken once: it may have missed a hint
    await other.rang()
    await send(backend, "x", sender="gamma")
    assert not await asker.rang()
    await backend.send(letter("!", reply_to="m_question"))
    assert await asker.rang()
    assert not await other.rang()


async def test_an_answer_that_nobody_took_wakes_the_readers(backend: QueueBackend) -> None:
    await backend.open_wait("alpha", "m_question", "beta", seconds=60)
    await backend.send(letter("!", reply_to="m_question"))
    bell = Bell()
    backend.watch("alpha", bell)
    await backend.close_wait("alpha", "m_question")
    assert await bell.rang()


async def test_who_subscribes_replaces_who_was_there(backend: QueueBackend) -> None:
    first, second, other = Bell(), Bell(), Bell()
    await backend.occupy("alpha", "1", first)
    await backend.occupy("beta", "2", other)
    assert not await first.rang()
    await backend.occupy("alpha", "3", second)
    assert (await first.rang(), await second.rang(), await other.rang()) == (True, False, False)
    await backend.vacate("alpha", "1")
    await backend.vacate("alpha", "1")
    await backend.occupy("alpha", "4", Bell())
    assert (await first.rang(), await second.rang()) == (False, True)


async def test_who_has_gone_is_not_replaced(backend: QueueBackend) -> None:
    gone = Bell()
    await backend.occupy("alpha", "1", gone)
    await backend.vacate("alpha", "1")
    await backend.occupy("alpha", "2", Bell())
    assert not await gone.rang()


async def test_a_retry_does_not_replace_itself(backend: QueueBackend) -> None:
    bell = Bell()
    await backend.occupy("alpha", "1", bell)
    await backend.occupy("alpha", "1", bell)
    assert not await bell.rang()


async def test_only_who_has_the_place_can_renew_it(backend: QueueBackend) -> None:
    await backend.occupy("alpha", "1", Bell())
    assert await backend.renew("alpha", "1")
    await backend.occupy("alpha", "2", Bell())
    assert not await backend.renew("alpha", "1")
    assert await backend.renew("alpha", "2")


async def test_a_backend_says_its_name_and_what_its_acceptance_survives(
    backend: QueueBackend,
) -> None:
    await backend.ping()
    assert backend.name
    assert backend.durability in {"process", "disk", "redis-aof", "redis-rdb", "redis-none"}


async def test_the_dead_wake_nobody_for_nothing(backend: QueueBackend) -> None:
    await send(backend, "x")
    await kill(backend)
    assert await take(backend) == []


async def test_some_of_the_agents_are_all_where_there_are_no_more(backend: QueueBackend) -> None:
    for agent_id in ("b", "a", "c"):
        await backend.put_agent(Agent(agent_id=agent_id))
    some = await backend.some_agents(10, 10_000)
    assert [agent.agent_id for agent in some] == ["b", "a", "c"]
    assert await backend.some_agents(1, 10_000)

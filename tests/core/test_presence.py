"""Who is here, and what the others are told of it."""

from __future__ import annotations

import pytest

from agent_hub.core.agent import MAX_METADATA_BYTES, Agent, Status
from agent_hub.core.bounds import SHOWN_PEERS_BYTES
from agent_hub.core.errors import Forbidden, Invalid, NotFound
from agent_hub.core.hub import Hub
from agent_hub.core.presence import Presence, PresenceEvent
from agent_hub.core.principal import ORDINARY, Principal
from agent_hub.core.queue_backend import QueueBackend
from tests.clock import ManualClock
from tests.core.calls import ANYONE, receive, register, send

Told = list[tuple[str, list[tuple[str, str]]]]


def listen(hub: Hub) -> Told:
    """What is announced from now on: kind, and the agents with their statuses."""
    told: Told = []

    def note(events: list[PresenceEvent]) -> None:
        for event in events:
            told.append((event.kind, [(a.agent_id, str(status)) for a, status in event.agents]))

    hub.on_presence = note
    return told


async def test_a_registration_is_answered_with_the_peers(hub: Hub) -> None:
    await register(hub, "alpha", "beta")
    answer = await hub.register(ANYONE, Agent(agent_id="gamma", name="Gamma"))
    assert answer.is_new
    assert answer.agent.name == "Gamma"
    assert [(peer.agent_id, status) for peer, status in answer.peers] == [
        ("alpha", Status.ACTIVE),
        ("beta", Status.ACTIVE),
    ]
    assert not (await hub.register(ANYONE, Agent(agent_id="gamma"))).is_new


async def test_a_registration_shows_fewer_peers_when_they_say_much_of_themselves(hub: Hub) -> None:
    metadata = b'{"notes":"' + b"x" * (MAX_METADATA_BYTES - 12) + b'"}'
    fitting = SHOWN_PEERS_BYTES // MAX_METADATA_BYTES
    for number in range(fitting + 5):
        await hub.register(ANYONE, Agent(agent_id=f"wordy-{number}", metadata=metadata))
    assert len((await hub.register(ANYONE, Agent(agent_id="alpha"))).peers) == fitting
    assert len(await hub.agents(ANYONE)) == fitting + 6


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"agent_id": "ALL"}, "/agent_id"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 129}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a\u202eb"}, "/name"),
        ({"name": "a\u2028b"}, "/name"),
        ({"session_id": "x" * 257}, "/session_id"),
        ({"session_id": "\x00"}, "/session_id"),
        ({"capabilities": ("x",) * 65}, "/capabilities"),
        ({"capabilities": ("x", "")}, "/capabilities/1"),
        ({"capabilities": ("x" * 65,)}, "/capabilities/0"),
        ({"metadata": b"x" * (16 * 1024 + 1)}, "/metadata"),
    ],
)
async def test_a_faulty_registration_is_refused_by_the_name_of_its_field(
    hub: Hub, fields: dict[str, object], pointer: str
) -> None:
    told = {"agent_id": "alpha", **fields}
    with pytest.raises(Invalid) as refused:
        await hub.register(ANYONE, Agent(**told))  # type: ignore[arg-type]
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    assert await hub.agents(ANYONE) == []


async def test_every_fault_of_a_registration_is_named(hub: Hub) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.register(ANYONE, Agent(agent_id="alpha", name="", metadata=b"x" * 20_000))
    assert [fault.pointer for fault in refused.value.faults] == ["/name", "/metadata"]


async def test_what_just_fits_is_registered(hub: Hub) -> None:
    agent = Agent(
        agent_id="x" * 64,
        name="é" * 128,
        session_id="x" * 256,
        capabilities=("x" * 64,) * 64,
        metadata=b"x" * 16 * 1024,
    )
    assert (await hub.register(ANYONE, agent)).is_new


async def test_agents_are_found_by_status_and_capability(hub: Hub) -> None:
    await hub.register(ANYONE, Agent(agent_id="alpha", capabilities=("code", "test")))
    await hub.register(ANYONE, Agent(agent_id="beta", capabilities=("code",)))
    await hub.heartbeat(ANYONE, "beta", "busy")

    async def found(**by: str) -> list[str]:
        return [agent.agent_id for agent, _ in await hub.agents(ANYONE, **by)]

    assert await found() == ["alpha", "beta"]
    assert await found(status="busy") == ["beta"]
    assert await found(capability="code") == ["alpha", "beta"]
    assert await found(capability="test", status="busy") == []
    with pytest.raises(Invalid):
        await found(status="asleep")


async def test_one_agent_is_shown_with_its_status(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha")
    agent, status = await hub.agent(ANYONE, "alpha")
    assert (agent.agent_id, status) == ("alpha", Status.ACTIVE)
    await clock.advance(91)
    assert (await hub.agent(ANYONE, "alpha"))[1] is Status.OFFLINE
    with pytest.raises(NotFound):
        await hub.agent(ANYONE, "nobody")


@pytest.mark.parametrize("status", ["offline", "asleep", ""])
async def test_only_the_hub_says_offline(hub: Hub, status: str) -> None:
    await register(hub, "alpha")
    with pytest.raises(Invalid):
        await hub.heartbeat(ANYONE, "alpha", status)


async def test_what_nobody_registered_has_no_heartbeat_and_no_end(hub: Hub) -> None:
    with pytest.raises(NotFound):
        await hub.heartbeat(ANYONE, "alpha")
    with pytest.raises(NotFound):
        await hub.deregister(ANYONE, "alpha")


async def test_one_missed_heartbeat_never_makes_an_agent_offline(
    hub: Hub, clock: ManualClock
) -> None:
    await register(hub, "alpha")
    await clock.advance(30)
    await hub.heartbeat(ANYONE, "alpha", "busy")
    await clock.advance(90)
    assert (await hub.agent(ANYONE, "alpha"))[1] == Status.BUSY
    await clock.advance(0.5)
    assert (await hub.agent(ANYONE, "alpha"))[1] == Status.OFFLINE


@pytest.mark.parametrize("call", ["send", "receive", "look", "settle"])
async def test_every_call_of_an_agent_is_a_sign_of_life(
    hub: Hub, clock: ManualClock, call: str
) -> None:
    await register(hub, "beta")
    await clock.advance(60)
    if call == "send":
        await send(hub)
    elif call == "receive":
        await receive(hub, "beta")
    elif call == "look":
        await hub.look(ANYONE, "beta")
    else:
        await hub.settle(ANYONE, "beta")
    await clock.advance(60)
    assert (await hub.agent(ANYONE, "beta"))[1] == Status.ACTIVE


async def test_an_open_stream_is_a_sign_of_life(hub: Hub, clock: ManualClock) -> None:
    told = listen(hub)
    stream = await hub.subscribe(ANYONE, "alpha")
    await clock.advance(600)
    assert told == [("agent.joined", [("alpha", "active")])]
    await stream.close()
    await clock.advance(130)
    assert [kind for kind, _ in told] == ["agent.joined", "agent.left"]


async def test_a_caller_that_may_not_act_as_an_agent_may_not_speak_for_it(hub: Hub) -> None:
    await register(hub, "alpha")
    stranger = Principal(via="rest", agents=frozenset({"beta"}), scopes=ORDINARY)
    with pytest.raises(Forbidden):
        await hub.register(stranger, Agent(agent_id="alpha"))
    with pytest.raises(Forbidden):
        await hub.heartbeat(stranger, "alpha")
    with pytest.raises(Forbidden):
        await hub.deregister(stranger, "alpha")
    with pytest.raises(Forbidden):
        await hub.subscribe(stranger, "alpha")
    assert (await hub.register(stranger, Agent(agent_id="beta"))).is_new


# --- what is announced --------------------------------------------------------------------


async def test_a_storm_of_joins_is_announced_together(hub: Hub, clock: ManualClock) -> None:
    told = listen(hub)
    await register(hub, "alpha", "beta", "gamma")
    assert told == []
    await clock.advance(0.25)
    everyone = [("alpha", "active"), ("beta", "active"), ("gamma", "active")]
    assert told == [("agent.joined", everyone)]


async def test_at_most_one_announcement_of_a_kind_in_a_quarter_of_a_second(
    hub: Hub, clock: ManualClock
) -> None:
    told = listen(hub)
    for number in range(8):
        await register(hub, f"agent-{number}")
        await clock.advance(0.125)
    await clock.advance(1)
    assert len(told) == 4


async def test_a_new_status_is_announced_and_an_old_one_is_not(
    hub: Hub, clock: ManualClock
) -> None:
    await register(hub, "alpha")
    await clock.advance(1)
    told = listen(hub)
    await hub.heartbeat(ANYONE, "alpha", "active")
    await clock.advance(1)
    assert told == []
    await hub.heartbeat(ANYONE, "alpha", "busy")
    await clock.advance(1)
    await hub.heartbeat(ANYONE, "alpha")
    await clock.advance(1)
    assert told == [("agent.status", [("alpha", "busy")])]


async def test_what_changed_back_in_between_is_not_announced(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha")
    await clock.advance(1)
    told = listen(hub)
    await hub.heartbeat(ANYONE, "alpha", "busy")
    await hub.heartbeat(ANYONE, "alpha", "active")
    await register(hub, "beta")
    await hub.deregister(ANYONE, "beta")
    await clock.advance(1)
    assert told == []


async def test_left_comes_after_the_grace(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha")
    await clock.advance(1)
    told = listen(hub)
    await clock.advance(88)
    assert told == []
    await clock.advance(8)
    assert told == [("agent.left", [("alpha", "offline")])]
    await clock.advance(60)
    assert len(told) == 1


async def test_who_comes_back_joins_again(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha")
    await clock.advance(100)
    told = listen(hub)
    await hub.heartbeat(ANYONE, "alpha")
    await clock.advance(1)
    assert told == [("agent.joined", [("alpha", "active")])]


async def test_who_deregisters_leaves_at_once(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha")
    await clock.advance(1)
    told = listen(hub)
    await hub.deregister(ANYONE, "alpha")
    await clock.advance(0.25)
    assert told == [("agent.left", [("alpha", "offline")])]
    assert await hub.agents(ANYONE) == []


async def test_a_deregistered_agents_stream_ends_and_its_mail_stays(hub: Hub) -> None:
    stream = await hub.subscribe(ANYONE, "alpha")
    await hub.deregister(ANYONE, "alpha")
    assert await stream.batch() == []
    assert stream.replaced
    await stream.close()
    await send(hub, "kept for later")
    assert (await hub.look(ANYONE, "alpha")).total == 1


async def test_a_takeover_is_silent(hub: Hub, clock: ManualClock) -> None:
    old = await hub.subscribe(ANYONE, "alpha")
    await clock.advance(1)
    told = listen(hub)
    new = await hub.subscribe(ANYONE, "alpha")
    await old.close()
    await clock.advance(200)
    assert told == []
    await new.close()


async def test_what_another_hub_registered_is_announced_here(
    hub: Hub, backend: QueueBackend, clock: ManualClock
) -> None:
    told = listen(hub)
    await backend.put_agent(Agent(agent_id="elsewhere"))
    await clock.advance(6)
    await backend.remove_agent("elsewhere")
    await clock.advance(6)
    assert [kind for kind, _ in told] == ["agent.joined", "agent.left"]


async def test_who_was_offline_before_the_start_is_not_announced(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.put_agent(Agent(agent_id="silent"))
    await clock.advance(91)
    await backend.put_agent(Agent(agent_id="alive"))
    hub = Hub(backend, clock)
    told = listen(hub)
    await hub.start()
    await clock.advance(10)
    assert told == [("agent.joined", [("alive", "active")])]
    await hub.stop()


async def test_after_its_end_nothing_is_announced(clock: ManualClock) -> None:
    told: list[list[PresenceEvent]] = []
    presence = Presence(clock, told.append)
    presence.observe(Agent(agent_id="alpha", last_seen=clock.time()))
    presence.close()
    await clock.advance(10)
    assert told == []


async def test_agents_are_counted_by_status(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "gone")
    await clock.advance(91)
    await register(hub, "alpha", "beta", "gamma")
    await hub.heartbeat(ANYONE, "beta", "busy")
    assert dict(await hub.census()) == {Status.ACTIVE: 2, Status.BUSY: 1, Status.OFFLINE: 1}
    assert hub.registered_agents == 4

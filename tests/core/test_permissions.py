"""Who may do what: every call of the hub asks, so that no door can forget to."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from agent_hub.core.agent import Agent
from agent_hub.core.errors import AgentTaken, Forbidden, InsufficientScope, Invalid, NotFound
from agent_hub.core.hub import Hub
from agent_hub.core.limits import Limits
from agent_hub.core.message import ALL
from agent_hub.core.principal import (
    ORDINARY,
    Principal,
    Scope,
    check_agents,
    check_scopes,
)
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.sending import Broadcast
from tests.clock import ManualClock
from tests.conftest import OpenBackend
from tests.core.calls import ANYONE, draft, register, send

QUESTION = "m_" + "A" * 22


def caller(
    *agents: str, subject: str | None = None, scopes: frozenset[Scope] = ORDINARY
) -> Principal:
    return Principal(
        via="rest",
        agents=frozenset(agents),
        subject=subject or f"the owner of {agents[0]}",
        scopes=scopes,
        credential=f"token of {agents[0]}",
    )


def nothing() -> None:
    """Of a watch that is never woken."""


Call = Callable[[Hub, Principal], Awaitable[Any]]

AS_ALPHA: dict[str, tuple[Call, set[Scope]]] = {
    "register": (lambda hub, who: hub.register(who, Agent(agent_id="alpha")), {Scope.REGISTER}),
    "deregister": (lambda hub, who: hub.deregister(who, "alpha"), {Scope.REGISTER}),
    "heartbeat": (lambda hub, who: hub.heartbeat(who, "alpha"), {Scope.REGISTER, Scope.READ}),
    "send": (lambda hub, who: hub.send(who, draft(sender="alpha", to="beta")), {Scope.SEND}),
    "broadcast": (lambda hub, who: hub.send(who, draft(sender="alpha", to=ALL)), {Scope.BROADCAST}),
    "ask": (lambda hub, who: hub.ask(who, draft(sender="alpha", to="beta"), 1), {Scope.SEND}),
    "look": (lambda hub, who: hub.look(who, "alpha"), {Scope.READ}),
    "position": (lambda hub, who: hub.position(who, "alpha"), {Scope.READ}),
    "watch": (lambda hub, who: hub.watch(who, "alpha", nothing, on_lost=nothing), {Scope.READ}),
    "receive": (lambda hub, who: hub.receive(who, "alpha"), {Scope.READ}),
    "settle": (lambda hub, who: hub.settle(who, "alpha", ack=[QUESTION]), {Scope.READ}),
    "standings": (
        lambda hub, who: hub.standings(who, "alpha", QUESTION),
        {Scope.READ, Scope.SEND},
    ),
    "subscribe": (lambda hub, who: hub.subscribe(who, "alpha"), {Scope.READ}),
    "unread": (lambda hub, who: hub.unread(who, "alpha"), {Scope.READ}),
}
"""Each call in alpha's name, and the scopes of which one is enough."""

OF_ALL: dict[str, tuple[Call, set[Scope]]] = {
    "agents": (lambda hub, who: hub.agents(who), {Scope.LIST}),
    "agent": (lambda hub, who: hub.agent(who, "alpha"), {Scope.LIST}),
    "inboxes": (lambda hub, who: hub.inboxes(who), {Scope.ADMIN}),
}
"""Those in nobody's name."""


def calls_of_the_hub(hub: Hub) -> set[str]:
    """Every method whose first parameter is the caller."""
    found = set()
    for name in dir(hub):
        member = getattr(hub, name)
        if not name.startswith("_") and callable(member):
            parameters = list(inspect.signature(member).parameters.values())
            if parameters and parameters[0].annotation == "Principal":
                found.add(name)
    return found


async def test_the_tables_here_know_every_call(hub: Hub) -> None:
    assert calls_of_the_hub(hub) == {*AS_ALPHA, *OF_ALL} - {"broadcast"}


@pytest.mark.parametrize("name", AS_ALPHA)
async def test_nobody_acts_for_another(hub: Hub, name: str) -> None:
    call, _ = AS_ALPHA[name]
    await register(hub, "alpha", "beta")
    with pytest.raises(Forbidden):
        await call(hub, caller("beta"))


@pytest.mark.parametrize("name", AS_ALPHA)
async def test_nobody_acts_as_an_agent_that_another_registered(hub: Hub, name: str) -> None:
    """Even one whose credential names it: two issuers may give out the same id."""
    call, _ = AS_ALPHA[name]
    await hub.register(caller("alpha", subject="the first"), Agent(agent_id="alpha"))
    expected = AgentTaken if name == "register" else Forbidden
    with pytest.raises(expected):
        await call(hub, caller("alpha", subject="the second"))


@pytest.mark.parametrize("name", sorted({*AS_ALPHA, *OF_ALL} - {"unread"}))
async def test_each_call_needs_its_scope_and_the_refusal_names_it(hub: Hub, name: str) -> None:
    call, enough = {**AS_ALPHA, **OF_ALL}[name]
    await register(hub, "alpha", "beta")
    lacking = frozenset(Scope) - enough - {Scope.ADMIN}
    with pytest.raises(InsufficientScope) as refusal:
        await call(hub, caller("alpha", scopes=lacking))
    assert set(refusal.value.scopes) == enough
    for scope in enough:
        assert scope in refusal.value.detail


@pytest.mark.parametrize("name", sorted({*AS_ALPHA, *OF_ALL} - {"ask", "subscribe"}))
async def test_its_scope_is_all_that_a_call_needs(hub: Hub, name: str) -> None:
    call, enough = {**AS_ALPHA, **OF_ALL}[name]
    await register(hub, "alpha", "beta")
    for scope in sorted(enough):
        with suppress(NotFound):  # the message that is asked for
            await call(hub, caller("alpha", scopes=frozenset({scope})))
        await register(hub, "alpha")


async def test_a_question_needs_the_scope_to_read_its_reply_too(hub: Hub) -> None:
    with pytest.raises(InsufficientScope) as refusal:
        await hub.ask(
            caller("alpha", scopes=frozenset({Scope.SEND})), draft(sender="alpha", to="beta"), 1
        )
    assert refusal.value.scopes == (Scope.READ,)


async def test_a_stream_that_registers_its_agent_needs_the_scope_to_register(hub: Hub) -> None:
    reader = caller("alpha", scopes=frozenset({Scope.READ}))
    with pytest.raises(InsufficientScope) as refusal:
        await hub.subscribe(reader, "alpha")
    assert refusal.value.scopes == (Scope.REGISTER,)
    await hub.register(caller("alpha"), Agent(agent_id="alpha"))
    await (await hub.subscribe(reader, "alpha")).close()


async def test_a_stream_makes_its_agent_the_callers_own(hub: Hub) -> None:
    await (await hub.subscribe(caller("alp*", subject="the first"), "alpha")).close()
    with pytest.raises(Forbidden):
        await hub.subscribe(caller("alp*", subject="the second"), "alpha")


async def test_an_agent_from_before_there_were_credentials_becomes_the_callers_own(
    hub: Hub,
) -> None:
    await register(hub, "alpha")
    await hub.look(caller("alpha"), "alpha")
    await hub.register(caller("alpha"), Agent(agent_id="alpha"))
    with pytest.raises(Forbidden):
        await hub.look(caller("alpha", subject="another"), "alpha")


async def test_every_credential_of_a_principal_is_as_good(hub: Hub) -> None:
    await hub.register(caller("alpha", subject="me"), Agent(agent_id="alpha"))
    assert not (await hub.look(caller("alpha", "beta", subject="me"), "alpha")).deliveries


async def test_an_id_that_a_credential_only_covers_has_to_be_registered_first(hub: Hub) -> None:
    team = caller("team-*")
    await send(hub, to="team-1")
    with pytest.raises(Forbidden, match="register it first"):
        await hub.look(team, "team-1")
    await hub.register(team, Agent(agent_id="team-1"))
    assert (await hub.look(team, "team-1")).total == 1
    with pytest.raises(Forbidden):
        await hub.register(team, Agent(agent_id="other"))


async def test_what_another_node_registered_is_known_here_too(
    hub: Hub, backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.put_agent(Agent(agent_id="team-1", owner="the first"))
    await hub.look(caller("team-*", subject="the first"), "team-1")
    with pytest.raises(Forbidden):
        await hub.look(caller("team-1", subject="the second"), "team-1")


async def test_a_star_alone_covers_every_id(hub: Hub) -> None:
    anybody = caller("*")
    await hub.register(anybody, Agent(agent_id="alpha"))
    await hub.send(anybody, draft(sender="alpha", to="beta"))


async def test_an_administrator_ends_registrations_but_reads_nothing(hub: Hub) -> None:
    admin = caller("ops", scopes=frozenset({Scope.ADMIN}))
    await hub.register(caller("alpha"), Agent(agent_id="alpha"))
    for name in {*AS_ALPHA, *OF_ALL} - {"deregister", "inboxes", "unread"}:
        with pytest.raises(Forbidden):
            await {**AS_ALPHA, **OF_ALL}[name][0](hub, admin)
    await hub.deregister(admin, "alpha")


async def test_without_the_scope_to_list_nothing_is_said_of_others(hub: Hub) -> None:
    scopes = frozenset({Scope.REGISTER, Scope.SEND})
    await register(hub, "beta", "gamma")
    registered = await hub.register(caller("alpha", scopes=scopes), Agent(agent_id="alpha"))
    assert not registered.peers
    sent = await hub.send(caller("alpha", scopes=scopes), draft(sender="alpha", to="gamm"))
    assert sent.similar == []  # type: ignore[union-attr]
    sent = await hub.send(caller("alpha"), draft(sender="alpha", to="gamm"))
    assert sent.similar == ["gamma"]  # type: ignore[union-attr]


async def test_without_the_scope_to_list_a_broadcast_names_nobody(hub: Hub) -> None:
    scopes = ORDINARY - {Scope.LIST}
    await register(hub, "alpha", "beta", "gamma")
    for who, named in ((caller("alpha", scopes=scopes), False), (caller("alpha"), True)):
        sent = await hub.send(who, draft(sender="alpha", to=ALL))
        assert isinstance(sent, Broadcast)
        assert sent.accepted_count == 2
        assert sent.accepted == (["beta", "gamma"] if named else [])
        standings = await hub.standings(who, "alpha", sent.message_id)
        assert [one.recipient for one in standings] == (["beta", "gamma"] if named else ["", ""])
        own = await hub.standings(caller("beta", scopes=scopes), "beta", sent.message_id)
        assert [one.recipient for one in own] == ["beta"]


async def test_without_the_scope_to_list_a_broadcast_does_not_say_whose_inbox_is_full(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(inbox_messages=1))
    hub = Hub(backend, clock)
    await register(hub, "beta", "gamma")
    await send(hub, to="beta")
    who = caller("alpha", scopes=ORDINARY - {Scope.LIST})
    sent = await hub.send(who, draft(sender="alpha", to=ALL))
    assert isinstance(sent, Broadcast)
    assert (sent.accepted_count, sent.accepted, sent.rejected) == (1, [], [])


async def test_who_may_not_read_is_told_of_no_mail(hub: Hub) -> None:
    await send(hub)
    assert (await hub.unread(caller("alpha"), "alpha")).total == 1
    scopes = frozenset({Scope.SEND})
    assert (await hub.unread(caller("alpha", scopes=scopes), "alpha")).total == 0


async def test_a_hub_without_authentication_asks_nobody(hub: Hub) -> None:
    await hub.register(caller("alpha"), Agent(agent_id="alpha"))
    for name, (call, _) in {**AS_ALPHA, **OF_ALL}.items():
        if name not in ("deregister", "ask", "subscribe", "watch", "standings"):
            await call(hub, ANYONE)


@pytest.mark.parametrize("agents", [["alpha"], ["team-*", "*"], ["A.b_c-1"], []])
def test_a_credential_names_ids_and_beginnings_of_ids(agents: list[str]) -> None:
    assert check_agents(agents, "--agent") == frozenset(agents)


@pytest.mark.parametrize("agent", ["", "-a", "a**", "*a", "a*b", "ALL", "a b", "x" * 65])
def test_what_names_no_agent_is_refused(agent: str) -> None:
    with pytest.raises(Invalid):
        check_agents([agent], "--agent")


def test_a_scope_is_one_of_six() -> None:
    assert check_scopes(["admin"], "--scope") == {Scope.ADMIN}
    with pytest.raises(Invalid, match="message:sned"):
        check_scopes(["message:sned"], "--scope")

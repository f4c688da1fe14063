"""Who is registered: agents come, give signs of life, are found, and leave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from agent_hub.core.admission import Admission
from agent_hub.core.agent import Agent, Status, check_agent
from agent_hub.core.bounds import MAX_SHOWN_PEERS, SHOWN_PEERS_BYTES
from agent_hub.core.clock import Clock
from agent_hub.core.errors import Invalid, NotFound
from agent_hub.core.message import check_agent_id
from agent_hub.core.permissions import Permissions
from agent_hub.core.presence import Presence
from agent_hub.core.principal import Principal, Scope
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.streams import Streams

SAID = (Status.ACTIVE, Status.IDLE, Status.BUSY)
"""The statuses that an agent may give itself."""


class Registered(Struct, kw_only=True):
    """The answer to a registration.

    `peers` are the others: at most MAX_SHOWN_PEERS, who say SHOWN_PEERS_BYTES of themselves.
    """

    agent: Agent
    is_new: bool
    peers: list[tuple[Agent, Status]]


class Registry:
    """The register of agents, and what the others see of it."""

    def __init__(
        self,
        backend: QueueBackend,
        clock: Clock,
        admission: Admission,
        permissions: Permissions,
        presence: Presence,
        streams: Streams,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._admission = admission
        self._permissions = permissions
        self._presence = presence
        self._streams = streams

    async def register(self, caller: Principal, agent: Agent) -> Registered:
        """Make an agent known, or replace what is known of it.

        Raises AgentTaken, TooManyInboxes.
        """
        caller.must_have(Scope.REGISTER)
        check_agent_id(agent.agent_id, "/agent_id")
        caller.must_act_as(agent.agent_id)
        check_agent(agent)
        self._admission.refuse_when_draining()
        if (counted := self._admission.take(agent.agent_id)) is not None:
            await counted
        agent.owner = caller.subject or None
        is_new = await self._backend.put_agent(agent)
        registered = await self._backend.agent(agent.agent_id) or agent
        self._presence.observe(registered)
        peers = await self._peers(agent.agent_id) if caller.may(Scope.LIST) else []
        return Registered(agent=registered, is_new=is_new, peers=peers)

    async def _peers(self, agent_id: str) -> list[tuple[Agent, Status]]:
        some = await self._backend.some_agents(MAX_SHOWN_PEERS + 1, SHOWN_PEERS_BYTES)
        others = (a for a in some if a.agent_id != agent_id)
        return self._with_status(_fitting(islice(others, MAX_SHOWN_PEERS)))

    def _with_status(self, agents: Iterable[Agent]) -> list[tuple[Agent, Status]]:
        now = self._clock.time()
        return [(agent, agent.status_at(now)) for agent in agents]

    async def agents(
        self, caller: Principal, *, status: str | None = None, capability: str | None = None
    ) -> list[tuple[Agent, Status]]:
        """All registered agents that match."""
        caller.must_have(Scope.LIST)
        if status is not None and status not in list(Status):
            raise Invalid.at("?status", f"one of {', '.join(Status)}")
        if (counted := self._admission.take(caller.peer)) is not None:
            await counted
        return [
            (agent, shown)
            for agent, shown in self._with_status(await self._backend.agents())
            if status in (None, shown) and (capability is None or capability in agent.capabilities)
        ]

    async def agent(self, caller: Principal, agent_id: str) -> tuple[Agent, Status]:
        """One registered agent. Raises NotFound."""
        caller.must_have(Scope.LIST)
        if (counted := self._admission.take(caller.peer)) is not None:
            await counted
        return self._found(agent_id, await self._backend.agent(agent_id))

    def _found(self, agent_id: str, agent: Agent | None) -> tuple[Agent, Status]:
        if agent is None:
            raise NotFound(f"no agent {agent_id!r} is registered")
        return agent, agent.status_at(self._clock.time())

    async def heartbeat(
        self, caller: Principal, agent_id: str, status: str | None = None
    ) -> tuple[Agent, Status]:
        """A sign of life. Raises NotFound for an agent that is not registered."""
        caller.must_have(Scope.REGISTER, Scope.READ)  # one that only reads lives too
        await self._permissions.act_as(caller, agent_id)
        if status is not None and status not in SAID:
            raise Invalid.at("/status", f"one of {', '.join(SAID)}")
        said = None if status is None else Status(status)
        return self._found(agent_id, await self._touch(agent_id, said))

    async def _touch(self, agent_id: str, status: Status | None = None) -> Agent | None:
        agent = await self._backend.touch_agent(agent_id, status)
        if agent is not None:
            self._presence.observe(agent)
        return agent

    async def sign_of_life(self, agent_id: str) -> None:
        """A call in an agent's name shows that it lives; written down once in a while."""
        if self._presence.is_stale(agent_id):
            await self._touch(agent_id)

    async def come_alive(self, caller: Principal, agent_id: str) -> None:
        """Opening a stream registers an agent that nobody registered: name is id."""
        if not caller.is_anyone:
            await self._claim(caller, agent_id)
        if await self._touch(agent_id) is not None:
            return
        await self._backend.put_agent(Agent(agent_id=agent_id, name=agent_id))
        await self._touch(agent_id)

    async def _claim(self, caller: Principal, agent_id: str) -> None:
        """Make an agent that belongs to nobody the caller's. Raises Forbidden for another's."""
        caller.must_act_as(agent_id)
        known = await self._backend.agent(agent_id)
        if known is None or known.owner is None:
            caller.must_have(Scope.REGISTER)
            known = known or Agent(agent_id=agent_id, name=agent_id)
            await self._backend.put_agent(replace(known, owner=caller.subject))
            await self._touch(agent_id)  # known here too, from now on
        await self._permissions.act_as(caller, agent_id)

    async def deregister(self, caller: Principal, agent_id: str) -> None:
        """End a registration and its stream; its mail stays. Raises NotFound."""
        if not (caller.is_anyone or caller.may(Scope.ADMIN)):
            caller.must_have(Scope.REGISTER)
            await self._permissions.act_as(caller, agent_id)
        if not await self._backend.remove_agent(agent_id):
            raise NotFound(f"no agent {agent_id!r} is registered")
        self._presence.remove(agent_id)
        await self._streams.dismiss(agent_id)

    async def census(self) -> Counter[Status]:
        """How many registered agents there are of each status."""
        return Counter(status for _, status in self._with_status(await self._backend.agents()))


def _fitting(agents: Iterable[Agent]) -> Iterator[Agent]:
    """As many as fit: a crowd that registers anew must not cost what all of them say, each."""
    room = SHOWN_PEERS_BYTES
    for agent in agents:
        room -= len(agent.metadata) + sum(map(len, agent.capabilities))
        if room < 0:
            return
        yield agent

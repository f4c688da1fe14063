"""The register of agents, which all nodes share."""

from __future__ import annotations

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import AgentTaken
from agent_hub.queue_backends.redis_codec import agent_of, numbered_agent, rest_of
from agent_hub.queue_backends.redis_store import Store


class Registry:
    """Registrations in one hash; their order is that of the numbers that they got."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = store.keys.hub("agents")

    async def put(self, agent: Agent) -> bool:
        answer = await self._store.hub_call(
            "put_agent", agent.agent_id, str(agent.status), agent.owner or "", rest_of(agent)
        )
        if answer[0] < 0:
            raise AgentTaken(f"{agent.agent_id!r} belongs to another principal")
        return bool(answer[0])

    async def touch(self, agent_id: str, status: Status | None) -> Agent | None:
        answer = await self._store.hub_call("touch_agent", agent_id, str(status or ""))
        return agent_of(answer[0]) if answer else None

    async def remove(self, agent_id: str) -> bool:
        answer = await self._store.hub_call("remove_agent", agent_id)
        return bool(answer[0])

    async def get(self, agent_id: str) -> Agent | None:
        (packed,) = await self._store.ask((("HGET", self._key, agent_id),))
        return agent_of(packed)

    async def every(self) -> list[Agent]:
        (packed,) = await self._store.ask((("HVALS", self._key),))
        numbered = sorted(map(numbered_agent, packed), key=lambda one: one[0])
        return [agent for _, agent in numbered]

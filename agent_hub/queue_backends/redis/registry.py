"""The register of agents, which all nodes share."""

from __future__ import annotations

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import AgentTaken
from agent_hub.queue_backends.redis.codec import agent_of, numbered_agent, rest_of
from agent_hub.queue_backends.redis.shared import Shared
from agent_hub.queue_backends.redis.store import Store
from agent_hub.queue_backends.refusals import too_many_agents

TAKEN, NO_ROOM, NO_SHARE = -1, -2, -3
"""What the script answers instead of whether an agent is new."""

AGENTS_AT_ONCE = 100
"""To a page of the register: at most 2 MB, so that no answer holds up what others asked."""


class Registry:
    """Registrations in one hash; their order is that of the numbers that they got."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._key = store.keys.hub("agents")
        self._every = Shared(self._read)

    async def put(self, agent: Agent) -> bool:
        answer = await self._store.hub_call(
            "put_agent", agent.agent_id, str(agent.status), agent.owner or "", rest_of(agent)
        )
        if answer[0] in (NO_ROOM, NO_SHARE):
            raise too_many_agents(self._store.limits, is_share=answer[0] == NO_SHARE)
        if answer[0] == TAKEN:
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
        return list(await self._every())

    async def some(self, limit: int, max_bytes: int) -> list[Agent]:
        return await self._read(limit, max_bytes)

    async def _read(
        self, limit: float = float("inf"), max_bytes: float = float("inf")
    ) -> list[Agent]:
        """Page by page until there are so many; all who are there from beginning to end."""
        found: dict[bytes, bytes] = {}
        cursor, size = b"0", 0
        while True:
            page = ("HSCAN", self._key, cursor, "COUNT", AGENTS_AT_ONCE)
            ((cursor, fields),) = await self._store.ask((page,))
            found.update(zip(fields[::2], fields[1::2], strict=True))
            size += sum(map(len, fields))
            if cursor == b"0" or len(found) >= limit or size >= max_bytes:
                break
        numbered = sorted(map(numbered_agent, found.values()), key=lambda one: one[0])
        return [agent for _, agent in numbered]

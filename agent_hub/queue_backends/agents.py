"""The agents that a model knows, and how many more it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from agent_hub.core.agent import Agent
from agent_hub.core.limits import Limits
from agent_hub.queue_backends.refusals import too_many_agents


class Agents(dict[str, Agent]):
    """Registrations by id, oldest first. Written by `put` and `remove` alone: they count."""

    def __init__(self) -> None:
        super().__init__()
        self._of_owner = Counter[str]()

    def put(self, agent: Agent) -> None:
        """Register, or replace in its place."""
        before = self.get(agent.agent_id)
        if before is None or before.owner != agent.owner:
            self._uncount(before)
            if agent.owner is not None:
                self._of_owner[agent.owner] += 1
        self[agent.agent_id] = agent

    def remove(self, agent_id: str) -> bool:
        """Whether there was one."""
        agent = self.pop(agent_id, None)
        self._uncount(agent)
        return agent is not None

    def _uncount(self, agent: Agent | None) -> None:
        if agent is None or agent.owner is None:
            return
        self._of_owner[agent.owner] -= 1
        if not self._of_owner[agent.owner]:
            del self._of_owner[agent.owner]

    def check_room(
        self, agent: Agent, underway: Mapping[str, Sequence[Agent]], limits: Limits
    ) -> None:
        """Raise TooManyInboxes for an agent that is one too many, in all or of its owner.

        `underway` are the registrations that are being written, of each agent in their order.
        """
        agent_id, owner = agent.agent_id, agent.owner
        before = underway[agent_id][-1] if agent_id in underway else self.get(agent_id)
        if before is None and len(self) + sum(one not in self for one in underway) >= limits.agents:
            raise too_many_agents(limits)
        if owner is None or (before is not None and before.owner is not None):
            return
        coming = (one for one, some in underway.items() if some[-1].owner == owner)
        own = self._of_owner[owner] + sum(self._owner_of(one) != owner for one in coming)
        if own >= limits.agents_per_owner:
            raise too_many_agents(limits, is_share=True)

    def _owner_of(self, agent_id: str) -> str | None:
        agent = self.get(agent_id)
        return None if agent is None else agent.owner

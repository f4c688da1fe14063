"""The agents that a model knows, and how many more it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

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

    def check_room(self, owner: str | None, coming: Collection[Agent], limits: Limits) -> None:
        """Raise TooManyInboxes for a new agent that is one too many.

        `coming` are those that are being written.
        """
        new = [agent for agent in coming if agent.agent_id not in self]
        if len(self) + len(new) >= limits.agents:
            raise too_many_agents(limits)
        if owner is not None:
            own = self._of_owner[owner] + sum(agent.owner == owner for agent in new)
            if own >= limits.agents_per_owner:
                raise too_many_agents(limits, is_share=True)

"""The agents that a model knows, and how many more it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from agent_hub.core.agent import Agent
from agent_hub.core.errors import TooManyInboxes
from agent_hub.core.limits import Limits


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
            raise no_room(limits)
        if owner is not None:
            own = self._of_owner[owner] + sum(agent.owner == owner for agent in new)
            if own >= limits.agents_per_owner:
                raise no_room(limits, is_share=True)


def no_room(limits: Limits, *, is_share: bool = False) -> TooManyInboxes:
    """For a new agent; `is_share`: its owner has as many as one may have."""
    held = (
        f"this credential's principal has {limits.agents_per_owner} agents registered"
        if is_share
        else f"{limits.agents} agents are registered"
    )
    return TooManyInboxes(
        f"{held}, and the hub takes no more; an old registration ends"
        f" {limits.registration_seconds / 3600:g} hours after its agent's last sign of life",
        retry_after=limits.empty_inbox_seconds,
    )

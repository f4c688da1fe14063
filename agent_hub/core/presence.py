"""Who is here: what changed since it was last announced."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from agent_hub.core.agent import Agent, Status
from agent_hub.core.clock import Clock, Timer

ANNOUNCE_SECONDS = 0.25
TOUCH_SECONDS = 10.0
"""How much later a sign of life may be written down: each call of an agent is one."""


class PresenceEvent(Struct, frozen=True):
    """`kind` is agent.joined, agent.left or agent.status. The statuses are those at that time."""

    kind: str
    agents: list[tuple[Agent, Status]]


class Presence:
    """What the others know of each agent, and what they do not know yet.

    Changes are gathered and announced together, at most once in ANNOUNCE_SECONDS: a storm of n
    joins must not cost n announcements to each of n listeners.
    """

    def __init__(self, clock: Clock, announce: Callable[[list[PresenceEvent]], None]) -> None:
        self._clock = clock
        self._announce = announce
        self._agents: dict[str, Agent] = {}
        self._announced: dict[str, Status] = {}
        self._changed: dict[str, Agent] = {}
        self._timer: Timer | None = None
        self.on_change: Callable[[], None] = lambda: None  # of the set of registered ids

    def __len__(self) -> int:
        return len(self._agents)

    def agent(self, agent_id: str) -> Agent | None:
        """What is known here of a registered agent; of other nodes' changes, a second later."""
        return self._agents.get(agent_id)

    @property
    def agent_ids(self) -> Iterable[str]:
        return self._agents

    def is_stale(self, agent_id: str) -> bool:
        """Whether this is a registered agent whose last sign of life should be renewed."""
        agent = self._agents.get(agent_id)
        return agent is not None and self._clock.time() - agent.last_seen >= TOUCH_SECONDS

    def observe(self, agent: Agent) -> None:
        """An agent registered, or gave a sign of life."""
        if agent.agent_id not in self._agents:
            self.on_change()
        self._agents[agent.agent_id] = agent
        is_news = agent.status_at(self._clock.time()) != self._announced.get(agent.agent_id)
        if is_news or agent.agent_id in self._changed:  # it may have changed back
            self._change(agent)

    def remove(self, agent_id: str) -> None:
        """A registration ended."""
        agent = self._agents.pop(agent_id, None)
        if agent is not None:
            self.on_change()
            self._change(agent)

    def sweep(self, registered: Iterable[Agent]) -> None:
        """Compare with the register: time made some offline, another node changed others."""
        current = {agent.agent_id: agent for agent in registered}
        for agent_id in [known for known in self._agents if known not in current]:
            self.remove(agent_id)
        for agent in current.values():
            self.observe(agent)

    def _change(self, agent: Agent) -> None:
        self._changed[agent.agent_id] = agent
        if self._timer is None:
            self._timer = self._clock.call_later(ANNOUNCE_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        events: dict[str, PresenceEvent] = {}
        for agent in self._changed.values():
            kind, status = self._settle(agent)
            if kind is not None:
                event = events.setdefault(kind, PresenceEvent(kind, []))
                event.agents.append((agent, status))
        self._changed.clear()
        if events:
            self._announce(list(events.values()))

    def _settle(self, agent: Agent) -> tuple[str | None, Status]:
        """What to announce of one agent, if it still differs from what was announced."""
        agent_id = agent.agent_id
        here = agent_id in self._agents
        status = agent.status_at(self._clock.time()) if here else Status.OFFLINE
        before = self._announced.get(agent_id, Status.OFFLINE)
        if here:
            self._announced[agent_id] = status
        else:
            self._announced.pop(agent_id, None)
        if status == before:
            return None, status
        if status is Status.OFFLINE:
            return "agent.left", status
        return ("agent.joined" if before is Status.OFFLINE else "agent.status"), status

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

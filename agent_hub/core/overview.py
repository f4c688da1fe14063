"""Which inboxes hold the mail, for who runs the hub: ids and counts, never what a message says."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from heapq import nsmallest

from msgspec import Struct

from agent_hub.core.admission import Admission
from agent_hub.core.agent import Status
from agent_hub.core.bounds import MAX_SHOWN_INBOXES, check_count
from agent_hub.core.clock import Clock
from agent_hub.core.errors import Invalid
from agent_hub.core.mail import Backlog
from agent_hub.core.presence import Presence
from agent_hub.core.principal import Principal, Scope
from agent_hub.core.queue_backend import QueueBackend


class Sort(StrEnum):
    """Which inboxes come first: those of the oldest unread message, or of the most messages."""

    OLDEST = "oldest"
    MESSAGES = "messages"


ORDERS: dict[str, Callable[[Backlog], tuple[float, str]]] = {
    Sort.OLDEST: lambda one: (_oldest(one), one.agent_id),
    Sort.MESSAGES: lambda one: (-one.messages, one.agent_id),
}


class Inboxes(Struct, kw_only=True):
    """The first inboxes, each with its agent's status, None where nobody registered that id.

    `total` counts all inboxes that owe something.
    """

    shown: list[tuple[Backlog, Status | None]]
    total: int


class Overview:
    """What an operator sees of the inboxes."""

    def __init__(
        self, backend: QueueBackend, clock: Clock, admission: Admission, presence: Presence
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._admission = admission
        self._presence = presence

    async def inboxes(
        self, caller: Principal, *, sort: str = Sort.OLDEST, limit: int = 20
    ) -> Inboxes:
        """The inboxes that owe something, the first `limit` of them in this order."""
        caller.must_have(Scope.ADMIN)
        if sort not in ORDERS:
            raise Invalid.at("?sort", f"one of {', '.join(Sort)}")
        check_count("?limit", limit, MAX_SHOWN_INBOXES)
        if (counted := self._admission.take(caller.peer)) is not None:
            await counted
        every = await self._backend.backlogs()
        first = nsmallest(limit, every, key=ORDERS[sort])
        return Inboxes(shown=[(one, self._status(one.agent_id)) for one in first], total=len(every))

    def _status(self, agent_id: str) -> Status | None:
        """As this node knows it: of what another one registers it hears some seconds later."""
        agent = self._presence.agent(agent_id)
        return None if agent is None else agent.status_at(self._clock.time())


def _oldest(backlog: Backlog) -> float:
    """Where nothing is ready, nothing lies unread: last."""
    return float("inf") if backlog.oldest_at is None else backlog.oldest_at

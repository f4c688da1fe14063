"""Whose an agent id is."""

from __future__ import annotations

from agent_hub.core.agent import Agent
from agent_hub.core.errors import Forbidden
from agent_hub.core.presence import Presence
from agent_hub.core.principal import Principal
from agent_hub.core.queue_backend import QueueBackend


class Permissions:
    """Asked by every call in an agent's name, whichever door it came through.

    An id belongs to the principal that registered it. One that is not registered belongs to
    whoever's credential names it exactly; a credential that only covers its beginning has to
    register it first, or two of those would share an inbox.
    """

    def __init__(self, backend: QueueBackend, presence: Presence) -> None:
        self._backend = backend
        self._presence = presence

    async def act_as(self, caller: Principal, agent_id: str) -> None:
        """Raise Forbidden unless this caller may speak and read as `agent_id`."""
        if caller.is_anyone:
            return
        caller.must_act_as(agent_id)
        owner = await self._owner_of(agent_id)
        if owner is None:
            if not caller.names(agent_id):
                raise Forbidden(
                    f"{agent_id!r} is not registered by this credential's principal, and the"
                    " credential names only its beginning: register it first"
                )
        elif owner != caller.subject:
            raise Forbidden(f"{agent_id!r} belongs to another principal")

    async def _owner_of(self, agent_id: str) -> str | None:
        known: Agent | None = self._presence.agent(agent_id)
        if known is None:  # registered a moment ago, at another node
            known = await self._backend.agent(agent_id)
        return None if known is None else known.owner

"""Who calls, and as which agents it may act."""

from __future__ import annotations

from msgspec import Struct

from agent_hub.core.errors import Forbidden


class Principal(Struct, frozen=True, gc=False):
    """The authenticated caller, the first parameter of every method of the hub.

    `via` is the door: `rest`, `websocket` or `mcp`. `peer` is the network address, the fallback
    key of the rate limit. `agents` are the ids it may act as; None means any (a hub on loopback
    without authentication).
    """

    via: str
    peer: str = ""
    agents: frozenset[str] | None = None

    def must_act_as(self, agent_id: str) -> None:
        """Raise Forbidden unless this caller may speak and read as `agent_id`."""
        if self.agents is not None and agent_id not in self.agents:
            raise Forbidden(f"this credential may not act as {agent_id!r}")

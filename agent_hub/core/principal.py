"""Who calls, as which agents it may act, and what it may do."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from agent_hub.core.errors import Forbidden, InsufficientScope, Invalid
from agent_hub.core.message import check_agent_id

ANY_END = "*"
MAX_NAME_CHARACTERS = 128


class Scope(StrEnum):
    """What a credential may be used for. Each call of the hub needs one of these."""

    REGISTER = "agent:register"
    SEND = "message:send"
    READ = "message:read"
    BROADCAST = "message:broadcast"
    LIST = "agents:list"
    ADMIN = "admin"


ORDINARY = frozenset(Scope) - {Scope.ADMIN}
"""What an agent needs for its work."""


class Principal(Struct, frozen=True, gc=False):
    """The caller, the first parameter of every method of the hub.

    `via` is the door: `rest`, `websocket` or `mcp`. `peer` is the network address, the fallback
    key of the rate limit. `agents` are the ids it may act as: exact ones, and beginnings that end
    with `*`; None means any, without further question (a hub without authentication).

    `subject` is who it is, whichever credential it shows: the owner of what it registers.
    `credential` names the proof, for the log and for its revocation; it is not the proof itself.
    `expires_at` is when the proof ends (wall time).
    """

    via: str
    peer: str = ""
    agents: frozenset[str] | None = None
    subject: str = ""
    scopes: frozenset[str] = frozenset()
    credential: str = ""
    expires_at: float | None = None

    @property
    def is_anyone(self) -> bool:
        """Whether nobody asked who this is."""
        return self.agents is None

    def may(self, *scopes: Scope) -> bool:
        """Whether it has one of these scopes."""
        return self.agents is None or not self.scopes.isdisjoint(scopes)

    def must_have(self, *scopes: Scope) -> None:
        """Raise InsufficientScope unless it has one of these."""
        if not self.may(*scopes):
            raise InsufficientScope(
                f"this credential lacks the scope {' or '.join(scopes)}", scopes=scopes
            )

    def names(self, agent_id: str) -> bool:
        """Whether exactly this id stands in the credential."""
        return self.agents is None or agent_id in self.agents

    def must_act_as(self, agent_id: str) -> None:
        """Raise Forbidden unless the credential covers `agent_id`, by name or by beginning."""
        if not (self.names(agent_id) or self._has_beginning_of(agent_id)):
            raise Forbidden(f"this credential may not act as {agent_id!r}")

    def _has_beginning_of(self, agent_id: str) -> bool:
        return any(
            one.endswith(ANY_END) and agent_id.startswith(one.removesuffix(ANY_END))
            for one in self.agents or ()
        )


def check_name(name: str, pointer: str) -> str:
    """Who a credential is made for. Raises Invalid for what fits in no list."""
    if not (0 < len(name) <= MAX_NAME_CHARACTERS and name.isprintable()):
        raise Invalid.at(pointer, f"1 to {MAX_NAME_CHARACTERS} printable characters")
    return name


def check_agents(agents: Iterable[str], pointer: str) -> frozenset[str]:
    """The ids and beginnings that a credential may name. Raises Invalid for another."""
    checked = frozenset(agents)
    for one in checked:
        beginning = one.removesuffix(ANY_END)
        if beginning or one != ANY_END:
            check_agent_id(beginning, pointer)
    return checked


def check_scopes(scopes: Iterable[str], pointer: str) -> frozenset[str]:
    """Raise Invalid for what is not a scope."""
    checked = frozenset(scopes)
    if unknown := sorted(checked - frozenset(Scope)):
        raise Invalid.at(pointer, f"no scope {unknown[0]!r}; there are {', '.join(Scope)}")
    return checked

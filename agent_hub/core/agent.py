"""A registered participant, and what may be registered."""

from __future__ import annotations

import unicodedata
from enum import StrEnum

from msgspec import Struct

from agent_hub.core.errors import Fault, Invalid

MAX_NAME_CHARACTERS = 128
MAX_CAPABILITIES = 64
MAX_CAPABILITY_CHARACTERS = 64
MAX_SESSION_ID_CHARACTERS = 256
MAX_METADATA_BYTES = 16 * 1024

GRACE_SECONDS = 90.0
"""How long an agent without a sign of life is still here."""


class Status(StrEnum):
    """What an agent says of itself, and `offline`, which only the hub says."""

    ACTIVE = "active"
    IDLE = "idle"
    BUSY = "busy"
    OFFLINE = "offline"


class Agent(Struct, kw_only=True):
    """A registered participant. `status` is as the agent says; `last_seen` its last sign of life.

    `metadata` is one compact JSON object. Times are wall time. `owner` is the subject of the
    principal that registered it; None where nobody asked who that was.
    """

    agent_id: str
    session_id: str | None = None
    name: str | None = None
    capabilities: tuple[str, ...] = ()
    metadata: bytes = b"{}"
    status: Status = Status.ACTIVE
    last_seen: float = 0.0
    registered_at: float = 0.0
    owner: str | None = None

    def status_at(self, now: float) -> Status:
        """The status to show: one missed heartbeat never makes an agent offline."""
        return Status.OFFLINE if now - self.last_seen > GRACE_SECONDS else self.status


def check_agent(agent: Agent) -> None:
    """Raise Invalid, naming every field at fault, unless this can be registered."""
    faults = [
        *_label_faults("/name", agent.name, MAX_NAME_CHARACTERS),
        *_label_faults("/session_id", agent.session_id, MAX_SESSION_ID_CHARACTERS),
    ]
    if len(agent.capabilities) > MAX_CAPABILITIES:
        faults.append(Fault("/capabilities", f"at most {MAX_CAPABILITIES} capabilities"))
    for place, capability in enumerate(agent.capabilities[:MAX_CAPABILITIES]):
        faults += _label_faults(f"/capabilities/{place}", capability, MAX_CAPABILITY_CHARACTERS)
    if len(agent.metadata) > MAX_METADATA_BYTES:
        faults.append(Fault("/metadata", f"at most {MAX_METADATA_BYTES} bytes of JSON"))
    if faults:
        raise Invalid.of(faults)


def _label_faults(pointer: str, label: str | None, longest: int) -> list[Fault]:
    """A label is shown to people and models: nothing in it may hide or reorder text."""
    if label is None:
        return []
    if not 0 < len(label) <= longest:
        return [Fault(pointer, f"1 to {longest} characters")]
    if any(unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") for character in label):
        return [Fault(pointer, "control and invisible characters are not allowed")]
    return []

"""How much a caller may ask for: spans in seconds, sizes in bytes, and counts."""

from __future__ import annotations

from agent_hub.core.errors import Invalid

HEARTBEAT_SECONDS = 30.0
DEFAULT_TTL_SECONDS = 300.0
MIN_TTL_SECONDS = 0.001
MAX_ASK_SECONDS = 300.0
MAX_READ_WAIT_SECONDS = 50.0
MIN_LEASE_SECONDS = 1.0
MAX_LEASE_SECONDS = 3_600.0
DEFAULT_LEASE_SECONDS = 30.0
MAX_RECEIVED = 200
MAX_LOOKED_AT = 1_000
RECEIVED_BYTES = 4 * 1024 * 1024
LOOKED_AT_BYTES = 8 * 1024 * 1024
"""As much as an inbox may owe; what is kept beside it can be six times that."""
MAX_SETTLED_IDS = 1_000
MAX_SHOWN_PEERS = 1_000
SHOWN_PEERS_BYTES = 1024 * 1024
"""Of capabilities and metadata: a thousand agents that say little, or fewer that say much."""
MAX_SHOWN_INBOXES = 1_000
MAX_KEY_CHARACTERS = 255


def check_span(pointer: str, seconds: float, longest: float, *, shortest: float = 0) -> None:
    """Raise Invalid at `pointer` unless the span is within these bounds (NaN never is)."""
    if not shortest <= seconds <= longest:
        raise Invalid.at(pointer, f"{shortest:g} to {longest:g} seconds")


def check_count(pointer: str, count: int, most: int) -> None:
    """Raise Invalid at `pointer` unless there is one at least, and no more than `most`."""
    if not 1 <= count <= most:
        raise Invalid.at(pointer, f"1 to {most}")


def check_lease(seconds: float) -> None:
    """Raise Invalid unless a lease can last so long."""
    check_span("/lease", seconds, MAX_LEASE_SECONDS, shortest=MIN_LEASE_SECONDS)

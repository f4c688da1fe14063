"""How often an address may show what proves nothing."""

from __future__ import annotations

from agent_hub.auth.networks import Networks
from agent_hub.core.clock import Clock
from agent_hub.core.errors import RateLimited

FAILURES_AT_ONCE = 20
FAILURES_A_SECOND = 0.2


class Attempts:
    """Failures, by network."""

    def __init__(self, clock: Clock) -> None:
        self._networks = Networks(FAILURES_A_SECOND, FAILURES_AT_ONCE, clock)

    def check(self, peer: str) -> None:
        """Raise RateLimited for a network that failed too often lately."""
        if self._networks.is_empty(peer):
            raise RateLimited(
                "too many credentials from your network proved nothing",
                retry_after=1 / FAILURES_A_SECOND,
            )

    def fail(self, peer: str) -> None:
        """Count one. Raises RateLimited when it was one too many."""
        self._networks.take(peer)

"""How often an address may show what proves nothing."""

from __future__ import annotations

from agent_hub.core.clock import Clock
from agent_hub.core.errors import RateLimited
from agent_hub.core.network import network_of
from agent_hub.core.rate_limit import TokenBuckets

FAILURES_AT_ONCE = 20
FAILURES_A_SECOND = 0.2
MAX_ADDRESSES = 10_000
THE_REST = "the rest"


class Attempts:
    """A bucket of failures for each network. An IPv6 one is a /64: that is what one host has."""

    def __init__(self, clock: Clock) -> None:
        self._buckets = TokenBuckets(FAILURES_A_SECOND, FAILURES_AT_ONCE, clock)

    def check(self, peer: str) -> None:
        """Raise RateLimited for a network that failed too often lately."""
        quota = self._buckets.quota(self._key(peer))
        if quota is not None and quota.remaining < 1:
            raise RateLimited(
                "too many credentials from your network proved nothing",
                retry_after=1 / FAILURES_A_SECOND,
            )

    def fail(self, peer: str) -> None:
        """Count one. Raises RateLimited when it was one too many."""
        self._buckets.take(self._key(peer))

    def _key(self, peer: str) -> str:
        if len(self._buckets) >= MAX_ADDRESSES:
            self._buckets.sweep()
            if len(self._buckets) >= MAX_ADDRESSES:
                return THE_REST
        return network_of(peer)

"""How often something may come from one network, by those who have shown no credential."""

from __future__ import annotations

from agent_hub.core.clock import Clock
from agent_hub.core.network import network_of
from agent_hub.core.rate_limit import TokenBuckets

MAX_NETWORKS = 10_000
THE_REST = "the rest"


class Networks:
    """A bucket for each network, and one for all others once there are too many.

    A network is an IPv4 address, or an IPv6 /64: that is what one host has.
    """

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._buckets = TokenBuckets(rate, burst, clock)

    def take(self, peer: str) -> None:
        """Raise RateLimited when too little is left."""
        self._buckets.take(self._key(peer))

    def is_empty(self, peer: str) -> bool:
        quota = self._buckets.quota(self._key(peer))
        return quota is not None and quota.remaining < 1

    def _key(self, peer: str) -> str:
        if len(self._buckets) >= MAX_NETWORKS:
            self._buckets.sweep()
            if len(self._buckets) >= MAX_NETWORKS:
                return THE_REST
        return network_of(peer)

"""Token buckets that all nodes take from."""

from __future__ import annotations

from collections.abc import Awaitable

from agent_hub.core.clock import Clock
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.rate_limit import Buckets, Quota, TokenBuckets
from agent_hub.queue_backends.redis.store import Store


class SharedBuckets(Buckets):
    """One step in Redis for each call that is counted.

    Each node remembers what it last heard of a bucket, for the headers. While Redis is away it
    counts by itself from there: a limit that is too generous by the number of nodes, and no call
    that fails for the limit's sake. A call that was counted twice, because an answer was lost
    on its way, is not worth remembering each call.
    """

    def __init__(self, rate: float, burst: int, clock: Clock, store: Store) -> None:
        self._rate = rate
        self._burst = burst
        self._store = store
        self._known = TokenBuckets(rate, burst, clock)

    def take(self, key: str, cost: float = 1.0) -> Awaitable[None] | None:
        return self._take(key, cost) if self._rate > 0 else None

    async def _take(self, key: str, cost: float) -> None:
        step = self._store.script("take", key, repr(cost), repr(self._rate), self._burst)
        try:
            ((_, taken, tokens),) = await self._store.ask((step,))
        except BackendUnavailable:
            self._known.take(key, cost)
            return
        self._known.fill(key, float(tokens))
        if not taken:
            self._known.take(key, cost)  # refuses, in the words of the one limit

    def quota(self, key: str) -> Quota | None:
        return self._known.quota(key)

    def sweep(self) -> None:
        self._known.sweep()

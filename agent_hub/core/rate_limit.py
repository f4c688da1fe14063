"""A token bucket for each agent: so many calls a second, and a burst on top."""

from __future__ import annotations

from collections.abc import Awaitable
from math import ceil, floor
from typing import Protocol

from msgspec import Struct

from agent_hub.core.clock import Clock
from agent_hub.core.errors import RateLimited


class Quota(Struct, frozen=True):
    """What is left to a caller. `reset` is in seconds: when its bucket is full again."""

    rate: float
    burst: int
    remaining: int
    reset: int


class Buckets(Protocol):
    """What calls are counted against, by key."""

    def take(self, key: str, cost: float = 1.0) -> Awaitable[None] | None:
        """Raise RateLimited when too little is left; a refused call costs nothing.

        What must be asked elsewhere is awaited, and raises then.
        """

    def quota(self, key: str) -> Quota | None:
        """What is left to `key`, as far as is known here; None when there is no limit."""

    def sweep(self) -> None:
        """Forget what need not be known."""


class _Bucket(Struct, gc=False):
    tokens: float
    filled_at: float


class TokenBuckets:
    """Buckets by key, all of one size. A rate of 0 turns the limit off.

    `rate` is in tokens a second; a bucket holds `burst`.
    """

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, cost: float = 1.0) -> None:
        """Raise RateLimited when too little is left; a refused call costs nothing.

        What costs more than a whole bucket needs a full one, and leaves a debt.
        """
        if self._rate <= 0:
            return
        bucket = self._bucket(key)
        needed = min(cost, self._burst)
        if bucket.tokens < needed:
            retry_after = (needed - bucket.tokens) / self._rate
            raise RateLimited(
                f"{key} may make {self._rate:g} requests a second, "
                f"{self._burst} at once; try again in {retry_after:.2f} s",
                retry_after=retry_after,
            )
        bucket.tokens -= cost

    def _bucket(self, key: str) -> _Bucket:
        now = self._clock.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(self._burst), now)
            return bucket
        refilled = bucket.tokens + (now - bucket.filled_at) * self._rate
        bucket.tokens = min(float(self._burst), refilled)
        bucket.filled_at = now
        return bucket

    def fill(self, key: str, tokens: float) -> None:
        """Set what a bucket holds now: it is another's, and this one only keeps it in mind."""
        self._bucket(key).tokens = tokens

    def quota(self, key: str) -> Quota | None:
        """What is left to `key`; None when there is no limit."""
        if self._rate <= 0:
            return None
        tokens = self._bucket(key).tokens
        reset = ceil((self._burst - tokens) / self._rate)
        return Quota(self._rate, self._burst, max(0, floor(tokens)), reset)

    def sweep(self) -> None:
        """Forget full buckets: a new one would be the same."""
        for key in list(self._buckets):
            if self._bucket(key).tokens >= self._burst:
                del self._buckets[key]

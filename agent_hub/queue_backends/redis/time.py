"""What time it is by Redis' clock, as this node knows it."""

from __future__ import annotations

from agent_hub.core.clock import Clock
from agent_hub.queue_backends.redis.store import Store


class StoreClock:
    """A node's clock with the wall time of the store: all times that are kept there are its own.

    Two machines' clocks need not agree: by this one a sign of life is as old as it is.
    """

    def __init__(self, clock: Clock, store: Store) -> None:
        self._clock = clock
        self._store = store
        self._ahead = 0.0
        self.monotonic = clock.monotonic
        self.call_later = clock.call_later

    def time(self) -> float:
        return self._clock.time() + self._ahead

    async def compare(self) -> None:
        """Ask what time it is there. A difference that may be the way's alone changes nothing."""
        asked_at = self._clock.time()
        (there,) = await self._store.hub_call("clock")
        answered_at = self._clock.time()
        ahead = float(there) - (asked_at + answered_at) / 2
        if abs(ahead - self._ahead) > answered_at - asked_at:
            self._ahead = ahead

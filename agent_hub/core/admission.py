"""Whether the hub takes a call now: the rate limit, and the end of the hub's day."""

from __future__ import annotations

from collections.abc import Awaitable

from agent_hub.core.clock import Clock
from agent_hub.core.errors import Draining, RateLimited
from agent_hub.core.metrics import Metrics
from agent_hub.core.rate_limit import Buckets, Quota
from agent_hub.core.wakeup import Wakeup

DRAINING_RETRY_SECONDS = 1.0


class Admission:
    """Counts calls against their buckets, and knows every wait, so that a drain can end them."""

    def __init__(
        self,
        clock: Clock,
        metrics: Metrics,
        buckets: Buckets,
        poll_seconds: float | None = None,
    ) -> None:
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._metrics = metrics
        self._buckets = buckets
        self._alarms: set[Wakeup] = set()
        self._draining = False

    @property
    def is_draining(self) -> bool:
        return self._draining

    def take(self, key: str, cost: float = 1.0) -> Awaitable[None] | None:
        """Count a call of an agent (or of an address). Raises RateLimited.

        What is returned must be awaited, and raises then. It is None where counting needs no
        waiting: a coroutine for nothing would cost each call more than the counting.
        """
        try:
            counted = self._buckets.take(key, cost)
        except RateLimited:
            self._metrics.rate_limited()
            raise
        return None if counted is None else self._counted(counted)

    async def _counted(self, counted: Awaitable[None]) -> None:
        try:
            await counted
        except RateLimited:
            self._metrics.rate_limited()
            raise

    def quota(self, key: str) -> Quota | None:
        """What is left to an agent (or to an address that named none); None without a limit."""
        return self._buckets.quota(key)

    def refuse_when_draining(self) -> None:
        """Raise Draining once the hub has begun to shut down."""
        if self._draining:
            raise Draining("the hub is shutting down", retry_after=DRAINING_RETRY_SECONDS)

    def alarm(self, timeout: float | None) -> Wakeup:
        """An alarm for one wait; a drain ends it as if its time were up."""
        alarm = _Tracked(self._clock, timeout, self._poll_seconds, self._alarms)
        if self._draining:
            alarm.end()
        return alarm

    def drain(self) -> None:
        """Refuse from now on, and end every wait."""
        self._draining = True
        for alarm in list(self._alarms):
            alarm.end()


class _Tracked(Wakeup):
    """A wait that the admission knows of while it lasts."""

    def __init__(
        self,
        clock: Clock,
        timeout: float | None,
        poll_seconds: float | None,
        known: set[Wakeup],
    ) -> None:
        super().__init__(clock, timeout, poll_seconds)
        self._known = known

    def __enter__(self) -> Wakeup:
        self._known.add(self)
        return super().__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._known.discard(self)
        super().__exit__(*exc_info)

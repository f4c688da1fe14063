"""Waiting for a hint, for the next look without one, or for time to run out."""

from __future__ import annotations

import asyncio
from random import uniform

from agent_hub.core.clock import Clock, Timer

HINT = "hint"
POLL = "poll"
POLL_SPREAD = 0.2
"""Polls are spread by so much, so that many readers do not look at once."""


class Wakeup:
    """One waiting reader's alarm: woken by hints, ended by a timeout or by `end`.

    Where a hint can be lost, it is woken also about every `poll_seconds`. A context manager, so
    that no timer outlives its wait.
    """

    __slots__ = (
        "_clock",
        "_ended",
        "_poll_seconds",
        "_timeout",
        "_timer",
        "_waiter",
        "_woken",
        "source",
    )

    def __init__(
        self, clock: Clock, timeout: float | None = None, poll_seconds: float | None = None
    ) -> None:
        self.source = HINT
        self._clock = clock
        self._timeout = timeout
        self._timer: Timer | None = None
        self._poll_seconds = poll_seconds
        self._woken = False
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Wakeup:
        if self._timeout is not None:
            self._timer = self._clock.call_later(self._timeout, self.end)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def ended(self) -> bool:
        return self._ended

    def wake(self) -> None:
        """Something may be there."""
        self.source = HINT
        self._woken = True
        self._notify()

    def _poll(self) -> None:
        if not self._woken:
            self.source = POLL
        self._woken = True
        self._notify()

    def end(self) -> None:
        """There is nothing more to wait for."""
        self._ended = True
        self._notify()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> bool:
        """Return at the next hint, at once if one came since the last wait; False at the end.

        `source` says then what woke it.
        """
        if not (self._woken or self._ended):
            await self._sleep()
        self._woken = False
        return not self._ended

    async def _sleep(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        poll: Timer | None = None
        if self._poll_seconds is not None:
            spread = uniform(1 - POLL_SPREAD, 1 + POLL_SPREAD)  # nosec B311
            poll = self._clock.call_later(self._poll_seconds * spread, self._poll)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if poll is not None:
                poll.cancel()

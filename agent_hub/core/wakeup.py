"""Waiting for a hint, or for time to run out."""

from __future__ import annotations

import asyncio

from agent_hub.core.clock import Clock, Timer


class Wakeup:
    """One waiting reader's alarm: woken by hints, ended by a timeout or by `end`.

    A context manager, so that no timer outlives its wait.
    """

    def __init__(self, clock: Clock, timeout: float | None = None) -> None:
        self._clock = clock
        self._timeout = timeout
        self._timer: Timer | None = None
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
        """Return at the next hint, at once if one came since the last wait; False at the end."""
        if not (self._woken or self._ended):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._woken = False
        return not self._ended

"""Time as the core sees it: handed in, so that a test can move it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A callback that is due later."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Two clocks and an alarm.

    Expiry is absolute, so it is kept in wall time; leases, limits and waits are spans, so they
    are kept in monotonic time: a step of the wall clock must not end or prolong them.
    """

    def time(self) -> float:
        """Seconds since the epoch (UTC)."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in the event loop after `delay` seconds."""
        ...

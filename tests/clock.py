"""Time that moves only when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

TURNS = 10
"""How often the event loop turns before time moves on: the longest chain of tasks in a test."""

AT_WORK: list[Callable[[], bool]] = []
"""Threads whose work the event loop does not see: each says whether somebody waits for it."""
GLANCE_SECONDS = 0.0002


class ManualTimer:
    """A callback on the manual clock's heap."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """Wall time, monotonic time and timers, none of which moves by itself.

    The wall clock can be stepped without the monotonic one, as a machine's administrator does.
    """

    def __init__(self) -> None:
        self._wall = 1_800_000_000.0
        self._monotonic = 1_000.0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._numbers = count()

    def time(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    def call_later(self, delay: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(callback)
        if delay <= 0:
            asyncio.get_running_loop().call_soon(_fire, timer)
        else:
            heappush(self._timers, (self._monotonic + delay, next(self._numbers), timer))
        return timer

    @property
    def pending(self) -> int:
        """How many timers are set."""
        return sum(not timer.cancelled for _, _, timer in self._timers)

    async def advance(self, seconds: float) -> None:
        """Let time pass: each timer fires at its own time, in order, and what it woke runs."""
        end = self._monotonic + seconds
        await settle()
        while self._timers and self._timers[0][0] <= end:
            due, _, timer = heappop(self._timers)
            self._move_to(due)
            if not timer.cancelled:
                timer.callback()
                await settle()
        self._move_to(end)
        await settle()

    def pass_by(self, seconds: float) -> None:
        """Let time pass for what sets no timers."""
        self._move_to(self._monotonic + seconds)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock, forward or back."""
        self._wall += seconds

    def _move_to(self, monotonic: float) -> None:
        self._wall += monotonic - self._monotonic
        self._monotonic = monotonic


def _fire(timer: ManualTimer) -> None:
    if not timer.cancelled:
        timer.callback()


async def settle() -> None:
    """Let every task run until it waits for something that does not come by itself."""
    await _turn()
    while await _something_works():
        await asyncio.sleep(GLANCE_SECONDS)
        await _turn()


async def _something_works() -> bool:
    """Asked twice: what a thread has just finished may set the next thing going."""
    if not any(works() for works in AT_WORK):
        await _turn()
    return any(works() for works in AT_WORK)


async def _turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)

"""A manual clock that can pass a day quickly."""

from __future__ import annotations

from heapq import heappop

from tests.clock import ManualClock, settle


class LeapingClock(ManualClock):
    async def leap(self, seconds: float) -> None:
        """Pass time as a machine does that slept: what came due meanwhile fires once, late."""
        self.pass_by(seconds)
        due = []
        while self._timers and self._timers[0][0] <= self.monotonic():
            due.append(heappop(self._timers)[2])
        for timer in due:
            if not timer.cancelled:
                timer.callback()
        await settle()

    async def pass_hours(self, hours: int) -> None:
        for _ in range(hours * 60):
            await self.leap(60)

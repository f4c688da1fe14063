"""The real clock, for the core that has none of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from agent_hub.core.clock import Timer


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

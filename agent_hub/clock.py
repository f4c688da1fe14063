"""The real clock, for the core that has none of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from time import time as wall_time

from agent_hub.core.clock import Timer


class SystemClock:
    """The machine's clocks and the running event loop's timers."""

    # The functions themselves: every call of the hub asks for the time more than once.
    time = staticmethod(wall_time)
    monotonic = staticmethod(monotonic)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)

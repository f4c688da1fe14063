"""Waiting for what the hub does by itself, without a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from agent_hub.web.attendance import TICK_SECONDS
from tests.clock import ManualClock
from tests.patience import PATIENCE


async def until(
    condition: Callable[[], bool | Awaitable[bool]], *, patience: float = PATIENCE
) -> None:
    """Let the event loop turn until the condition holds."""
    async with asyncio.timeout(patience):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0)


async def gone(clock: ManualClock, pending: int) -> None:
    """Until the hub has seen that a client is gone, and let go of its timers but for so many."""

    async def let_go() -> bool:
        await clock.advance(TICK_SECONDS)
        return clock.pending <= pending

    await until(let_go)

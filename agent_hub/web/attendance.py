"""Who is still on the line.

aiohttp has no signal for a client that hangs up while its handler waits, so that one shared
tick looks at the transports of the waiting requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

from agent_hub.core.clock import Clock, Timer
from agent_hub.core.deadline import within
from agent_hub.web.gate import ClientGone
from agent_hub.web.reply import Reply

TICK_SECONDS = 0.25
WRITE_SECONDS = 10.0

_T = TypeVar("_T")


class Attendance:
    """Watches the connections of requests that wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[asyncio.Task[Any], web.Request] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def while_connected(self, request: web.Request, waiting: Coroutine[Any, Any, _T]) -> _T:
        """The result of `waiting`. Raises ClientGone, having cancelled it, when nobody is there."""
        task = asyncio.ensure_future(waiting)
        self._waiting[task] = request
        self._start()
        try:
            return await task
        except asyncio.CancelledError:
            if is_connected(request):
                raise
            raise ClientGone from None
        finally:
            del self._waiting[task]

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for task, request in self._waiting.items():
            if not is_connected(request):
                task.cancel()
        if self._waiting:
            self._start()

    async def write(self, request: web.Request, reply: Reply) -> bool:
        """Write a reply whole; whether that finished with the connection still standing.

        It went to the kernel then. That is no proof that the client has it.
        """
        transport = request.transport
        if transport is None or transport.is_closing():
            return False
        # Then `drain` returns when nothing is left in the process, not when there is room again.
        transport.set_write_buffer_limits(high=0)
        try:
            async with within(self._clock, WRITE_SECONDS):
                await reply.prepare(request)
        except ConnectionError:
            return False
        except TimeoutError:
            transport.abort()
            return False
        finally:
            if not transport.is_closing():  # uvloop lets nobody touch a closed one
                transport.set_write_buffer_limits()
        return is_connected(request)


def is_connected(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and not transport.is_closing()

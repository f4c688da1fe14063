"""A long read that many may ask for at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """One read at a time. Who asks while one is under way waits for the next, together with all
    others: it shows whatever was done before it was asked for.
    """

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._read_after(self._running))
            self._next.add_done_callback(_heed)
        return await asyncio.shield(self._next)

    async def _read_after(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        this = self._running
        try:
            return await self._read()
        finally:
            if self._running is this:
                self._running = None


def _heed(done: asyncio.Task[T]) -> None:
    """A failure that nobody waits for any more is no news."""
    if not done.cancelled():
        done.exception()

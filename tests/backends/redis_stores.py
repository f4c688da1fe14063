"""Real Redis processes for the tests of a backend: one plain, one a cluster of one node."""

from __future__ import annotations

import asyncio
import atexit
from contextlib import ExitStack
from functools import cache
from itertools import count
from typing import Self

from agent_hub.core.clock import Clock
from agent_hub.core.limits import Limits
from agent_hub.queue_backends.redis.backend import RedisBackend
from tests.clock import AT_WORK
from tests.patience import PATIENCE
from tests.redis_server import RedisServer, redis_server

_stack = ExitStack()
atexit.register(_stack.close)
_numbers = count(1)


@cache
def server(*, cluster: bool = False) -> RedisServer:
    """Started when the first test needs it, stopped with this process."""
    return _stack.enter_context(redis_server(cluster=cluster))


class TemporaryRedis(RedisBackend):
    """Keys of its own in a Redis of all tests; `settle` waits for all that is under way there."""

    cluster = False

    def __init__(self, clock: Clock, limits: Limits, *, prefix: str | None = None) -> None:
        self._how = (clock, limits)
        self._prefix = prefix or f"test{next(_numbers)}"
        url = server(cluster=self.cluster).url
        # These tests ask what is answered, not how busy the machine is.
        super().__init__(url, limits, prefix=self._prefix, clock=clock, reply_seconds=PATIENCE)
        self._heard_of = -1
        self._hearing: asyncio.Task[None] | None = None
        self._opened = False

    def another(self) -> Self:
        """Another node on the same store."""
        return type(self)(*self._how, prefix=self._prefix)

    async def open(self) -> None:
        """Some tests open twice."""
        if not self._opened:
            self._opened = True
            await super().open()
            AT_WORK.append(self._works)

    async def close(self) -> None:
        if self._works in AT_WORK:
            AT_WORK.remove(self._works)
            if self._hearing is not None:
                await self._hearing
            await super().close()

    def _works(self) -> bool:
        """Answers are awaited, or hints of what was done are on their way."""
        if self.is_working:
            return True
        if self._heard_of != self.asked and (self._hearing is None or self._hearing.done()):
            self._heard_of = self.asked
            self._hearing = asyncio.ensure_future(self.caught_up())
        return self._hearing is not None and not self._hearing.done()


class TemporaryCluster(TemporaryRedis):
    cluster = True

"""How patient a client is: pauses, tries, and the clock they are measured with."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from agent_hub.client.errors import HubError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Pace:
    """All times in seconds.

    A pause has full jitter: anything from nothing up to a bound that doubles from `shortest` to
    `longest`, so that a thousand clients of a restarted hub do not come back in step. A call is
    tried `tries` times and waits `give_up_after` in all; a stream of deliveries reconnects for
    ever. `silence`: a connection on which nothing came for so long, not even a ping, is dead.
    `sleep`, `now` and `random` are there so that tests can move time themselves.
    """

    shortest: float = 0.5
    longest: float = 30.0
    tries: int = 6
    give_up_after: float = 60.0
    silence: float = 90.0
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    now: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random


class Backoff:
    """The pauses of one run of failures."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self.reset()

    def reset(self) -> None:
        self._bound = self._pace.shortest

    def next(self, error: HubError | None = None) -> float:
        """The next pause in seconds, never shorter than the hub asked for in `error`."""
        pause = self._pace.random() * self._bound
        self._bound = min(self._pace.longest, self._bound * 2)
        return max(pause, error.retry_after or 0.0) if error else pause


async def retrying(attempt: Callable[[], Awaitable[T]], pace: Pace) -> T:
    """What `attempt` answers, tried again while its HubError says that it may pass."""
    backoff, waited = Backoff(pace), 0.0
    for _ in range(pace.tries - 1):
        try:
            return await attempt()
        except HubError as error:
            pause = backoff.next(error)
            waited += pause
            if not error.retryable or waited > pace.give_up_after:
                raise
        await pace.sleep(pause)
    return await attempt()

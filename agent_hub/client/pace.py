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


async def retrying(
    attempt: Callable[[], Awaitable[T]], pace: Pace, until: float | None = None
) -> T:
    """What `attempt` answers, tried again while its HubError says that it may pass.

    `until`, a time of the pace's clock: from when on it is in doubt whether the hub has done it
    already, it is tried until then, however often.
    """
    patience = _Patience(pace, until)
    while True:
        try:
            return await attempt()
        except HubError as error:
            pause = patience.pause(error)
            if pause is None:
                raise
        await pace.sleep(pause)


class _Patience:
    """What is left of it for one call."""

    def __init__(self, pace: Pace, until: float | None) -> None:
        self._pace = pace
        self._until = until
        self._backoff = Backoff(pace)
        self._tried = 0
        self._waited = 0.0
        self._in_doubt = False

    def pause(self, error: HubError) -> float | None:
        """How long to wait after this failure, or None when it is the last."""
        pause = self._backoff.next(error)
        self._tried += 1
        self._waited += pause
        self._in_doubt |= error.in_doubt
        if not error.retryable:
            return None
        if self._until is not None and self._in_doubt:
            return self._at_most(self._until - self._pace.now(), pause, error)
        over = self._tried >= self._pace.tries or self._waited > self._pace.give_up_after
        return None if over else pause

    def _at_most(self, left: float, pause: float, error: HubError) -> float | None:
        """The pause, cut so that the last attempt is made when the time ends."""
        return min(pause, left) if left > (error.retry_after or 0.0) else None

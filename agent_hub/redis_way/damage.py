"""Keys that something from outside has damaged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from agent_hub.core.errors import HubError

T = TypeVar("T")

log = logging.getLogger(__name__)


class Damage:
    """What is wrong with one must not stop what concerns others: it is left out, and said once.

    `saying` is that line of the log, with a place for the name. It is said again of one that was
    whole meanwhile.
    """

    def __init__(self, saying: str) -> None:
        self._saying = saying
        self._said: set[str] = set()

    async def ask_each(
        self, names: Collection[str], ask: Callable[[str], Awaitable[T]]
    ) -> list[tuple[str, T]]:
        """Ask about all names at once; those that are whole, with what was answered.

        Raises a refusal of the hub's own, as when Redis is away: that is no damage.
        """
        answers = await asyncio.gather(*map(ask, names), return_exceptions=True)
        whole = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, BaseException):
                self._say(name, answer)
            else:
                self._said.discard(name)
                whole.append((name, answer))
        return whole

    def _say(self, name: str, error: BaseException) -> None:
        if isinstance(error, HubError) or not isinstance(error, Exception):
            raise error
        if name not in self._said:
            self._said.add(name)
            log.error(self._saying, name, exc_info=error)

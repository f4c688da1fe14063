"""Commands on their way: all that is asked in one turn of the loop goes together.

While one batch is under way the next gathers, as with a commit: the busier the hub, the larger
the batches and the cheaper each command.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from redis.exceptions import RedisError, ResponseError

from agent_hub.redis_way.errors import (
    broken,
    is_passing,
    is_unknown_script,
    refusal,
    unavailable,
)
from agent_hub.redis_way.link import Group, Link, Words

log = logging.getLogger(__name__)

BATCH_COMMANDS = 512
BATCH_BYTES = 1024 * 1024
TRIES = 3
PAUSE_SECONDS = 0.05
"""Before the second try; twice as long before the third."""
REPLY_SECONDS = 1.8
"""Without an answer, all tries together: who asked hears within 2 s that Redis is away."""
TICKS = 6
"""Parts of that time, counted one by one."""
PROBE_SECONDS = (0.05, 1.0)
"""Between two looks whether Redis is back: the first pause, and the longest."""


class Patience:
    """A timeout that counts only time in which the loop runs: a context manager.

    After a pause of the whole process an answer may lie there unread; an ordinary timeout would
    run out first, and take a pause of ours for one of Redis.
    """

    def __init__(self, seconds: float) -> None:
        self._pause = seconds / TICKS
        self._left = TICKS
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)
        self._timer = self._loop.call_later(self._pause, self._tick)

    def _tick(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._pause, self._tick)
        else:
            self._timeout.reschedule(self._loop.time())

    def renew(self) -> None:
        """Something came: what else is to come has all the time again."""
        self._left = TICKS

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)


class Asked:
    """A group of commands and who waits for the answers."""

    __slots__ = ("answered", "group", "on_answer")

    def __init__(self, group: Group, on_answer: Callable[[list[Any]], None] | None) -> None:
        self.group = group
        self.on_answer = on_answer
        self.answered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def answer(self, answers: list[Any]) -> None:
        """`on_answer` hears of it also when who asked has gone away."""
        failed = next((one for one in answers if isinstance(one, ResponseError)), None)
        if failed is None:
            if self.on_answer is not None:
                self.on_answer(answers)
            if not self.answered.done():
                self.answered.set_result(answers)
        else:
            self.fail(refusal(failed))

    def fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # one that nobody waits for is no news


class Pipeline:
    """Carries commands in the order in which they are asked.

    Everything asked must be fit to be done twice: what broke on its way is sent again. Once Redis
    is known to be away, everything is refused at once until a probe finds it back; `on_return` is
    called then. `name` is what is away. `scripts` has the text of each script by its hash. Where
    `probe` is refused nothing can be done at all: for who writes, a write that needs no memory.
    """

    def __init__(
        self,
        link: Link,
        name: str,
        scripts: dict[str, str],
        on_return: Callable[[], None],
        reply_seconds: float,
        probe: Words,
    ) -> None:
        self._reply_seconds = reply_seconds
        self._probe_words = probe
        self._link = link
        self._name = name
        self._scripts = scripts
        self._on_return = on_return
        self._waiting: deque[Asked] = deque()
        self._carrier: asyncio.Task[None] | None = None
        self._prober: asyncio.Task[None] | None = None
        self._away: str | None = None  # why
        self._closing = False

    @property
    def is_working(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._carrier is not None

    def ask(
        self, group: Group, on_answer: Callable[[list[Any]], None] | None = None
    ) -> asyncio.Future[list[Any]]:
        """The answers to a group of commands, in their order.

        Fails with BackendUnavailable, or with the error that Redis answered.
        """
        asked = Asked(group, on_answer)
        if self._away is not None or self._closing:
            asked.fail(unavailable(self._away or "the hub is closing its store"))
            return asked.answered
        self._waiting.append(asked)
        if self._carrier is None:
            self._carrier = asyncio.get_running_loop().create_task(self._carry())
        return asked.answered

    async def close(self) -> None:
        """What was asked is answered first."""
        self._closing = True
        if self._carrier is not None:
            await self._carrier
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)

    # --- there and back -------------------------------------------------------------------

    async def _carry(self) -> None:
        try:
            while self._waiting:
                await self._carry_batch(self._next_batch())
        finally:
            self._carrier = None

    def _next_batch(self) -> list[Asked]:
        batch: list[Asked] = []
        commands = size = 0
        while self._waiting and commands < BATCH_COMMANDS and size < BATCH_BYTES:
            asked = self._waiting.popleft()
            commands += len(asked.group)
            size += sum(len(words[-1]) for words in asked.group if isinstance(words[-1], bytes))
            batch.append(asked)
        return batch

    async def _carry_batch(self, batch: Sequence[Asked]) -> None:
        try:
            answers = await self._exchange([asked.group for asked in batch])
        except (RedisError, OSError) as error:
            self._leave(batch, broken(self._name, error).detail)
            return
        except Exception as error:
            log.exception("a batch of commands failed")
            for asked in batch:
                asked.fail(error)
            return
        for asked, answer in zip(batch, answers, strict=True):
            try:
                asked.answer(answer)
            except Exception as error:
                log.exception("an answer could not be read")
                asked.fail(error)  # and nobody else

    async def _exchange(self, groups: Sequence[Group]) -> list[list[Any]]:
        """Try until it works, or there are no tries or no time left.

        What was answered is not asked again with what is tried again: what it did would show.
        """
        patience = Patience(self._reply_seconds)
        self._link.on_answer = patience.renew
        answers: dict[int, list[Any]] = {}
        left = list(range(len(groups)))
        async with patience:
            for attempt in range(1, TRIES + 1):
                try:
                    told = await self._exchange_once([groups[number] for number in left])
                except (RedisError, OSError) as error:
                    if attempt == TRIES:
                        raise
                    log.debug("try %s of a batch: %s", attempt, type(error).__name__)
                else:
                    answers.update(zip(left, told, strict=True))
                    left = [number for number in left if any(map(is_passing, answers[number]))]
                    if not left or attempt == TRIES:
                        break
                    await self._link.reset()
                await asyncio.sleep(PAUSE_SECONDS * attempt)
        return [answers[number] for number in range(len(groups))]

    async def _exchange_once(self, groups: Sequence[Group]) -> list[list[Any]]:
        answers = await self._link.exchange(groups)
        for place, group in enumerate(answers):
            if any(is_unknown_script(one) for one in group):
                # A Redis that was started anew. All of the group again, in its order.
                whole = [self._with_text(words) for words in groups[place]]
                answers[place] = (await self._link.exchange([whole]))[0]
        return answers

    def _with_text(self, words: Words) -> Words:
        if words[0] != "EVALSHA":
            return words
        return ("EVAL", self._scripts[str(words[1])], *words[2:])

    # --- away -----------------------------------------------------------------------------

    def _leave(self, batch: Sequence[Asked], away: str) -> None:
        """Refuse all that waits; nothing of it is kept to be done when Redis is back."""
        if self._away is None:
            log.warning("the store is away: %s", away)
            self._away = away
            self._prober = asyncio.get_running_loop().create_task(self._probe())
        for asked in (*batch, *self._waiting):
            asked.fail(unavailable(away))  # each its own: it gathers where it was raised
        self._waiting.clear()

    async def _probe(self) -> None:
        pause, longest = PROBE_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            if await self._is_back():
                break
        self._away = None
        log.info("the store is back: %s", self._name)
        self._on_return()

    async def _is_back(self) -> bool:
        try:
            async with Patience(self._reply_seconds):
                await self._link.reset()  # another node may have taken over from one that hangs
                (answers,) = await self._link.exchange([[self._probe_words]])
        except (RedisError, OSError):
            return False
        except Exception:
            log.exception("a probe failed")  # it must not be the last one
            return False
        return not isinstance(answers[0], ResponseError)

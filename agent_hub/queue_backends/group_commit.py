"""The journal with one writer: what gathers while a commit runs is the next commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeVar

from agent_hub.core.errors import BackendUnavailable
from agent_hub.queue_backends.facts import Accepted, Fact
from agent_hub.queue_backends.journal import Change, Journal
from agent_hub.queue_backends.records import Record, Sums, encode

log = logging.getLogger(__name__)

T = TypeVar("T")

NOTE_SECONDS = 0.02
"""How long what nobody waits for may stay unwritten while nothing else takes it along."""
RETRY_SECONDS = 1.0
CHANGES_AT_ONCE = 512


class Store(Protocol):
    """Where records go; called in the writer's thread."""

    def append(self, number: int, record: bytes, keep_from: int) -> int: ...

    def close(self) -> None: ...


class Rewriting(Protocol):
    """What writes the old anew, so that old records can go; see `compaction`."""

    @property
    def keep_from(self) -> int: ...

    @property
    def is_busy(self) -> bool: ...

    def step(self, number: int) -> Sequence[Fact]: ...

    def written(self, size: int, first: int) -> None: ...

    def failed(self) -> None: ...


class Waiting(NamedTuple):
    """A change, and who waits for it."""

    change: Change[Any]
    outcome: asyncio.Future[Any]


class GroupCommit(Journal):
    """All calls come from the event loop; only the store is used in a thread of its own.

    One record is committed at a time. It holds first what happened while the last one was
    written, then the changes that wait: the order in which the model went through them. `sums`
    counts what the model has been through when these facts are too. `committed` is told how many
    messages each commit brought in.
    """

    is_instant = False

    def __init__(
        self,
        store: Store,
        rewriting: Rewriting,
        sums: Callable[[Sequence[Fact]], Sums],
        committed: Callable[[int], None],
    ) -> None:
        self._store = store
        self._rewriting = rewriting
        self._sums = sums
        self._committed = committed
        self._noted: list[Fact] = []
        self._waiting: list[Waiting] = []
        self._number = 0
        self._commit: asyncio.Future[int] | None = None
        self._soon: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self.failure: str | None = None

    def start(self, next_number: int) -> None:
        """From now on all is written down; before, what is told is what was read."""
        self._number = next_number
        self._loop = asyncio.get_running_loop()

    @property
    def is_writing(self) -> bool:
        """Whether somebody waits for a commit."""
        return self._commit is not None or bool(self._waiting)

    def note(self, fact: Fact) -> None:
        if self._loop is not None:
            self._noted.append(fact)
            if self._commit is None and self._soon is None:
                self._soon = self._loop.call_later(NOTE_SECONDS, self._begin)

    async def write(self, change: Change[T]) -> T:
        if self._loop is None:
            raise BackendUnavailable("the store is closed", retry_after=RETRY_SECONDS)
        outcome: asyncio.Future[T] = self._loop.create_future()
        if not self._waiting and self._commit is None:
            # After all that this turn of the loop has still to say.
            self._begin_after(self._loop.call_soon(self._begin))
        self._waiting.append(Waiting(change, outcome))
        return await outcome

    def _begin_after(self, handle: asyncio.Handle | None) -> None:
        if self._soon is not None:
            self._soon.cancel()
        self._soon = handle

    def _begin(self) -> None:
        """Number what has gathered, and let it be committed."""
        self._begin_after(None)
        if self._commit is not None or self._loop is None:
            return
        noted, self._noted = self._noted, []
        changes = self._waiting[:CHANGES_AT_ONCE]
        del self._waiting[:CHANGES_AT_ONCE]
        facts = [*noted, *self._rewriting.step(self._number)]
        for waiting in changes:
            facts += waiting.change.number()
        try:
            record = encode(self._number, Record(self._sums(facts), facts))
        except Exception as error:  # noqa: BLE001 - a bug, but nobody may wait for ever for it
            self._not_written(error, noted, changes)
            self._go_on()
        else:
            messages = sum(type(fact) is Accepted for fact in facts)
            self._commit = self._append(record)
            self._commit.add_done_callback(
                lambda commit: self._finish(commit, noted, changes, messages, len(record))
            )

    def _append(self, record: bytes) -> asyncio.Future[int]:
        assert self._loop is not None
        return self._loop.run_in_executor(
            self._thread, self._store.append, self._number, record, self._rewriting.keep_from
        )

    def _finish(
        self,
        commit: asyncio.Future[int],
        noted: list[Fact],
        changes: list[Waiting],
        messages: int,
        size: int,
    ) -> None:
        self._commit = None
        error = commit.exception()
        if error is None:
            self._number += 1
            self._rewriting.written(size, commit.result())
            self._recovered()
            _publish(changes)
            if messages:
                self._committed(messages)
        else:
            self._not_written(error, noted, changes)
        self._go_on()

    def _not_written(self, error: BaseException, noted: list[Fact], changes: list[Waiting]) -> None:
        """What has happened is to be written next time; what waits does not happen."""
        self._noted[:0] = noted
        self._rewriting.failed()
        if self.failure is None:
            log.error("the journal cannot be written, sends are refused: %s", error)
        self.failure = str(error)
        _withdraw(changes, f"the journal cannot be written: {error}")

    def _recovered(self) -> None:
        if self.failure is not None:
            log.warning("the journal can be written again")
        self.failure = None

    def _go_on(self) -> None:
        assert self._loop is not None
        if self._waiting or (self._rewriting.is_busy and self.failure is None):
            self._begin()
        elif self.failure is not None:
            self._begin_after(self._loop.call_later(RETRY_SECONDS, self._begin))
        elif self._noted:
            self._begin_after(self._loop.call_later(NOTE_SECONDS, self._begin))

    async def close(self) -> None:
        """Write what is left, as far as that can be done, and close the store."""
        while await self._wrote_some():
            pass
        self._begin_after(None)
        loop, self._loop = self._loop, None
        if loop is not None:
            await loop.run_in_executor(self._thread, self._store.close)
        self._thread.shutdown()

    async def _wrote_some(self) -> bool:
        """Write once more. False when nothing is left, or nothing can be written."""
        if self._commit is None and not (self._noted or self._waiting):
            return False
        self._begin()
        if self._commit is not None:
            await asyncio.wait([self._commit])
            await asyncio.sleep(0)  # for what it calls when it is done
        return self.failure is None or bool(self._waiting)


def _publish(changes: Sequence[Waiting]) -> None:
    for change, outcome in changes:
        result = change.publish()
        if not outcome.done():  # its caller went away
            outcome.set_result(result)


def _withdraw(changes: Sequence[Waiting], reason: str) -> None:
    for change, outcome in reversed(changes):
        change.withdraw()
        if not outcome.done():
            outcome.set_exception(BackendUnavailable(reason, retry_after=RETRY_SECONDS))

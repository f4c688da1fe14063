"""Queues that outlive the process: the memory model serves, a SQLite file is its journal."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from agent_hub.core.clock import Clock
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.limits import Limits
from agent_hub.queue_backends.compaction import MIN_BYTES, Compaction
from agent_hub.queue_backends.group_commit import RETRY_SECONDS, GroupCommit
from agent_hub.queue_backends.journal_file import Connect, JournalFile
from agent_hub.queue_backends.records import Damaged, decode
from agent_hub.queue_backends.remembering import RememberingBackend

log = logging.getLogger(__name__)


class SqliteBackend(RememberingBackend):
    """Accepted means committed: a `send` returns, and its message is seen, after the fsync.

    Acks and the like are written a moment after their call returned. Leases are not written: after
    a restart all un-acked mail is ready, marked as handed out before. `committed` is told how many
    messages a commit held. `connect` is for tests.
    """

    name: ClassVar[str] = "sqlite"

    def __init__(
        self,
        path: Path,
        clock: Clock,
        limits: Limits | None = None,
        *,
        committed: Callable[[int], None] = lambda messages: None,
        connect: Connect = sqlite3.connect,
        compact_at: int = MIN_BYTES,
    ) -> None:
        self._file = JournalFile(path, connect)
        self._compaction = Compaction(self._pieces, compact_at)
        self._commits = GroupCommit(self._file, self._compaction, self._sums, committed)
        super().__init__(clock, limits, journal=self._commits)

    @property
    def durability(self) -> str:
        return "disk"

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def is_writing(self) -> bool:
        """Whether somebody waits for a commit."""
        return self._commits.is_writing

    async def open(self) -> None:
        """Raises BackendUnavailable when another hub has the file, or it cannot be used."""
        try:
            self._file.open()
            number = self._read()
        except Damaged as damage:
            number = self._begin_anew(damage)
        except BackendUnavailable:
            self._file.let_go()
            raise
        self._commits.start(number)
        self._wake_up()
        log.info("messages are kept in %s", self.path)

    def _read(self) -> int:
        """Become what the file says; the number of the next record."""
        number = 0
        for number, written in self._file.records():
            self._recall(decode(number, written))
            self._compaction.read(len(written))
        return number + 1

    def _begin_anew(self, damage: Damaged) -> int:
        """Nothing of a damaged file is believed, and nothing of it is deleted."""
        aside = self._file.set_aside()
        log.critical(
            "DAMAGED: %s cannot be trusted (%s). It was set aside as %s; the hub begins with an "
            "empty store, and what was waiting in the old one is not delivered",
            self.path,
            damage,
            aside.name,
        )
        self._forget_all()
        return 1

    async def close(self) -> None:
        await self._commits.close()

    async def ping(self) -> None:
        if self._commits.failure is not None:
            raise BackendUnavailable(
                f"the journal cannot be written: {self._commits.failure}",
                retry_after=RETRY_SECONDS,
            )

"""SQLite stores in files of a test's own: opened, and copied as a crash would leave them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from agent_hub.core.agent import Agent
from agent_hub.core.limits import Limits
from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.clock import ManualClock

_copies = count(1)


@asynccontextmanager
async def store(
    path: Path, clock: ManualClock, limits: Limits | None = None, **options: Any
) -> AsyncIterator[SqliteBackend]:
    """An open store, closed at the end."""
    backend = SqliteBackend(path, clock, limits, **options)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def as_after_a_crash(path: Path) -> Path:
    """What is in the file now, as a process that begins now would find it."""
    copy = path.with_name(f"copy-{next(_copies)}.db")
    for end in ("", "-wal"):
        beside = path.with_name(path.name + end)
        if beside.exists():
            shutil.copy(beside, copy.with_name(copy.name + end))
    return copy


async def all_written(backend: SqliteBackend) -> None:
    """A registration is answered when it, and all that happened before it, is in the file."""
    await backend.put_agent(Agent(agent_id="last-one"))


def page_limit(backend: SqliteBackend, pages: int) -> int:
    """Set how many pages the file may have; the limit before."""
    connection = backend._file._open_connection
    [before] = connection.execute("PRAGMA max_page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return int(before)

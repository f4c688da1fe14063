"""Every backend that must keep the promise. A new one joins by one entry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from agent_hub.core.clock import Clock
from agent_hub.core.limits import Limits
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.queue_backends.memory import MemoryBackend
from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.backends.redis_stores import TemporaryCluster, TemporaryRedis
from tests.clock import AT_WORK

Factory = Callable[[Clock, Limits], QueueBackend]
"""A new, empty backend, not opened yet."""


FAST = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""These tests ask what is answered, not what a disk keeps: its syncs would take minutes."""


class TemporarySqlite(SqliteBackend):
    """In a folder of its own, which goes with it; `settle` waits for its thread."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._folder = TemporaryDirectory(dir=FAST, ignore_cleanup_errors=True)
        # So small a journal is compacted again and again.
        path = Path(self._folder.name) / "hub.db"
        super().__init__(path, clock, limits, compact_at=16 * 1024)

    async def open(self) -> None:
        """Some tests open twice, and ask the model when it is closed."""
        if self._works not in AT_WORK:
            await super().open()
            AT_WORK.append(self._works)

    async def close(self) -> None:
        if self._works in AT_WORK:
            AT_WORK.remove(self._works)
            await super().close()
            self._folder.cleanup()

    def _works(self) -> bool:
        return self.is_writing


@asynccontextmanager
async def after_its_end(backend: QueueBackend) -> AsyncIterator[QueueBackend]:
    """To ask what a hub that has stopped left in its store: a model, or what it was in."""
    if not isinstance(backend, TemporaryRedis):
        yield backend
        return
    another = backend.another()
    await another.open()
    yield another
    await another.close()


FACTORIES: dict[str, Factory] = {
    "memory": MemoryBackend,
    "sqlite": TemporarySqlite,
    "redis": TemporaryRedis,
    "redis-cluster": TemporaryCluster,
}

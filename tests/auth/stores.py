"""Every credential store that must keep the promise. A new one joins by one entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent_hub.auth.redis_store import RedisStore
from agent_hub.auth.sqlite_store import SqliteStore
from agent_hub.auth.store import CredentialStore
from tests.auth.memory_store import MemoryStore
from tests.backends.redis_stores import server

Now = Callable[[], float]
MakeStore = Callable[[Path, Now], CredentialStore]
"""A new store, not opened yet; of two for one folder, both see the same entries."""


def redis(cluster: bool) -> MakeStore:
    """The test's folder names the keys: what other tests left in that Redis is not seen."""
    return lambda folder, now: RedisStore(server(cluster=cluster).url, now, prefix=str(folder))


STORES: dict[str, MakeStore] = {
    "memory": lambda folder, now: MemoryStore(now),
    "sqlite": lambda folder, now: SqliteStore(folder / "credentials.db", now),
    "redis": redis(cluster=False),
    "redis-cluster": redis(cluster=True),
}
SHARED = ("sqlite", "redis")
"""Those that another process sees."""

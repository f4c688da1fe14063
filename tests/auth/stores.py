"""Every credential store that must keep the promise. A new one joins by one entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent_hub.auth.memory_store import MemoryStore
from agent_hub.auth.sqlite_store import SqliteStore
from agent_hub.auth.store import CredentialStore

Now = Callable[[], float]
MakeStore = Callable[[Path, Now], CredentialStore]
"""A new store, not opened yet; of two for one folder, both see the same entries."""

STORES: dict[str, MakeStore] = {
    "memory": lambda folder, now: MemoryStore(now),
    "sqlite": lambda folder, now: SqliteStore(folder / "credentials.db", now),
}
SHARED = ("sqlite",)
"""Those that another process sees."""

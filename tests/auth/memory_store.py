"""Credentials for as long as a test lives: the reference of what a store does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from agent_hub.auth.store import CredentialStore, Entry, Kind


class MemoryStore(CredentialStore):
    """`now` is the wall clock."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._entries: dict[tuple[Kind, str], Entry] = {}

    async def get_many(self, kind: Kind, keys: Collection[str]) -> Mapping[str, bytes]:
        found = ((key, self._entry(kind, key)) for key in keys)
        return {key: entry.value for key, entry in found if entry is not None}

    def _entry(self, kind: Kind, key: str) -> Entry | None:
        entry = self._entries.get((kind, key))
        if entry is not None and entry.expires_at is not None and entry.expires_at <= self._now():
            del self._entries[kind, key]
            return None
        return entry

    async def put(
        self,
        kind: Kind,
        key: str,
        value: bytes,
        *,
        expires_at: float | None = None,
        only_new: bool = False,
        only_known: bool = False,
    ) -> bool:
        is_there = self._entry(kind, key) is not None
        if (only_new and is_there) or (only_known and not is_there):
            return False
        self._entries[kind, key] = Entry(key, value, expires_at)
        return True

    async def delete(self, kind: Kind, key: str) -> bool:
        was_there = self._entry(kind, key) is not None
        self._entries.pop((kind, key), None)
        return was_there

    async def entries(self, kind: Kind) -> list[Entry]:
        keys = sorted(key for of, key in self._entries if of == kind)
        found = (self._entry(kind, key) for key in keys)
        return [entry for entry in found if entry is not None]

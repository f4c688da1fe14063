"""Who wants to be woken, by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Watchers:
    """Callbacks by key: an agent id, or a question's message id."""

    def __init__(self) -> None:
        self._wakes: dict[str, list[Callable[[], None]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._wakes

    def __len__(self) -> int:
        return sum(map(len, self._wakes.values()))

    def add(self, key: str, wake: Callable[[], None]) -> Watching:
        self._wakes.setdefault(key, []).append(wake)
        return Watching(self, key, wake)

    def remove(self, key: str, wake: Callable[[], None]) -> None:
        wakes = self._wakes.get(key, [])
        if wake in wakes:
            wakes.remove(wake)
            if not wakes:
                del self._wakes[key]

    def wake(self, key: str) -> None:
        for wake in list(self._wakes.get(key, ())):  # one may close while it is woken
            wake()

    def wake_all(self, prefix: str = "") -> None:
        """Wake everybody whose key begins so."""
        for key in [key for key in self._wakes if key.startswith(prefix)]:
            self.wake(key)


class Watching:
    """One callback's place; closing it twice is fine."""

    __slots__ = ("_key", "_wake", "_watchers")

    def __init__(self, watchers: Watchers, key: str, wake: Callable[[], None]) -> None:
        self._watchers = watchers
        self._key = key
        self._wake = wake

    def close(self) -> None:
        self._watchers.remove(self._key, self._wake)


class Occupant(NamedTuple):
    """Who has a place, and how it hears that it lost it."""

    stream_id: str
    replaced: Callable[[], None]


class Occupants:
    """The one stream of each agent: who comes replaces who was there."""

    def __init__(self) -> None:
        self._occupants: dict[str, Occupant] = {}

    def __len__(self) -> int:
        return len(self._occupants)

    def has(self, agent_id: str, stream_id: str) -> bool:
        occupant = self._occupants.get(agent_id)
        return occupant is not None and occupant.stream_id == stream_id

    def put(self, agent_id: str, stream_id: str, replaced: Callable[[], None]) -> bool:
        """Whether another stream had to leave for it."""
        before = self._occupants.get(agent_id)
        self._occupants[agent_id] = Occupant(stream_id, replaced)
        if before is None or before.stream_id == stream_id:
            return False
        before.replaced()
        return True

    def remove(self, agent_id: str, stream_id: str) -> bool:
        """Whether this stream had the place."""
        if not self.has(agent_id, stream_id):
            return False
        del self._occupants[agent_id]
        return True

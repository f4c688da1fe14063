"""Who wants to be woken, by what."""

from __future__ import annotations

from collections.abc import Callable


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


class Watching:
    """One callback's place; closing it twice is fine."""

    def __init__(self, watchers: Watchers, key: str, wake: Callable[[], None]) -> None:
        self._watchers = watchers
        self._key = key
        self._wake = wake

    def close(self) -> None:
        self._watchers.remove(self._key, self._wake)


class Occupants:
    """The one subscription of each agent: who comes replaces who was there."""

    def __init__(self) -> None:
        self._occupants: dict[str, Occupying] = {}

    def __len__(self) -> int:
        return len(self._occupants)

    def add(self, agent_id: str, replaced: Callable[[], None]) -> Occupying:
        before = self._occupants.get(agent_id)
        now = self._occupants[agent_id] = Occupying(self, agent_id, replaced)
        if before is not None:
            before.replaced()
        return now

    def remove(self, occupying: Occupying) -> None:
        if self._occupants.get(occupying.agent_id) is occupying:
            del self._occupants[occupying.agent_id]


class Occupying:
    """One subscription's place; closing it twice, or after a replacement, is fine."""

    def __init__(self, occupants: Occupants, agent_id: str, replaced: Callable[[], None]) -> None:
        self._occupants = occupants
        self.agent_id = agent_id
        self.replaced = replaced

    def close(self) -> None:
        self._occupants.remove(self)

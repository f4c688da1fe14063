"""All open sockets: who is told of comings and goings, and who still answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from agent_hub.core.bounds import HEARTBEAT_SECONDS
from agent_hub.core.clock import Clock, Timer
from agent_hub.core.metrics import Metrics
from agent_hub.core.presence import PresenceEvent
from agent_hub.wire import frames

SILENT_SECONDS = 90.0
EVENTS_BY_DEFAULT_UP_TO = 500


class Listed(Protocol):
    """An open socket, as the roster knows it."""

    @property
    def agent_id(self) -> str: ...

    @property
    def close_code(self) -> int: ...

    async def announce(self, frame: bytes) -> None: ...

    async def beat(self, silent_for: float) -> None: ...


class Roster:
    """Announces presence, and beats every HEARTBEAT_SECONDS."""

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._events: dict[Listed, str | None] = {}  # what each asked for: all, none, nothing
        self._timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, stream: Listed, events: str | None) -> None:
        """List an open socket, with what it asked to hear: all, none, or nothing in particular."""
        self._events[stream] = events
        self._metrics.websocket_opened()
        if self._timer is None:
            self._timer = self._clock.call_later(HEARTBEAT_SECONDS, self._beat)

    def remove(self, stream: Listed) -> None:
        """A socket closed."""
        del self._events[stream]
        self._metrics.websocket_closed(stream.close_code)

    def turned_away(self, code: int) -> None:
        """A socket is closed that never was a stream: its credential was not good, or none."""
        self._metrics.websocket_opened()
        self._metrics.websocket_closed(code)

    def announce(self, events: list[PresenceEvent]) -> None:
        """Serialise each event once and write it to all who want it."""
        default = "all" if len(self._events) <= EVENTS_BY_DEFAULT_UP_TO else "none"
        listeners = [s for s, asked in self._events.items() if (asked or default) == "all"]
        for event in events if listeners else ():
            frame = frames.presence(event)
            about = [agent.agent_id for agent, _ in event.agents]
            for listener in listeners:
                if about != [listener.agent_id]:  # nobody needs to hear of itself alone
                    # On its own: one that does not read would keep the others waiting.
                    self._run(listener.announce(frame))

    def _beat(self) -> None:
        self._timer = None
        if self._events:
            self._timer = self._clock.call_later(HEARTBEAT_SECONDS, self._beat)
            for stream in list(self._events):
                self._run(stream.beat(SILENT_SECONDS))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

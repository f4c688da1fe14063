"""Who wants to be woken here, and who has a place that another may take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio.connection import AbstractConnection

from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.queue_backend import Watch
from agent_hub.queue_backends.redis.hints import Hints
from agent_hub.queue_backends.redis.store import Store
from agent_hub.queue_backends.watchers import Watchers

log = logging.getLogger(__name__)

READY, ANSWERED, OCCUPIED = "r", "a", "o"
"""How a word begins that is called out for an inbox; the rest is a question's or a stream's id."""


class Watching:
    """One inbox listened to on somebody's behalf; closing it twice is fine."""

    def __init__(self, hints: Hints, channel: str, watch: Watch) -> None:
        self._hints = hints
        self._channel = channel
        self._watch: Watch | None = watch

    def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()
            self._hints.unwant(self._channel)


class Streams:
    """The streams and readers of this process."""

    def __init__(self, store: Store, connect: Callable[[], AbstractConnection]) -> None:
        self._store = store
        self._hints = Hints(connect, self._heard, self._may_have_missed)
        self._readers = Watchers()
        self._askers = Watchers()  # by agent and question
        self._placed: dict[str, tuple[str, Callable[[], None]]] = {}
        self._checks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._hints.start()

    async def close(self) -> None:
        await self._hints.close()
        for check in self._checks:
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)

    async def caught_up(self) -> None:
        """Return when all hints given before this call have been heard."""
        await self._hints.caught_up()

    def is_watched(self, agent_id: str) -> bool:
        return agent_id in self._readers

    def watch(self, agent_id: str, wake: Callable[[], None], question_id: str | None) -> Watch:
        if question_id is None:
            watch = self._readers.add(agent_id, wake)
        else:
            watch = self._askers.add(f"{agent_id} {question_id}", wake)
        return Watching(self._hints, self._listen(agent_id), watch)

    def _listen(self, agent_id: str) -> str:
        channel = self._store.keys(agent_id, "box")
        self._hints.want(channel)
        return channel

    # --- places ---------------------------------------------------------------------------

    async def occupy(self, agent_id: str, stream_id: str, replaced: Callable[[], None]) -> None:
        await self._store.shielded(self._occupy(agent_id, stream_id, replaced))

    async def _occupy(self, agent_id: str, stream_id: str, replaced: Callable[[], None]) -> None:
        await self._store.call("occupy", agent_id, stream_id)
        before = self._placed.get(agent_id)
        self._placed[agent_id] = (stream_id, replaced)
        if before is None:
            self._listen(agent_id)
        elif before[0] != stream_id:
            before[1]()

    async def renew(self, agent_id: str, stream_id: str) -> bool:
        (own,) = await self._store.call("renew", agent_id, stream_id)
        return bool(own)

    async def vacate(self, agent_id: str, stream_id: str) -> None:
        self._forget_place(agent_id, stream_id)
        await self._store.shielded(self._vacate(agent_id, stream_id))

    async def _vacate(self, agent_id: str, stream_id: str) -> None:
        try:
            await self._store.call("vacate", agent_id, stream_id)
        finally:
            # Once more: an `occupy` that its caller gave up went on until now.
            self._forget_place(agent_id, stream_id)

    def _forget_place(self, agent_id: str, stream_id: str) -> None:
        if agent_id in self._placed and self._placed[agent_id][0] == stream_id:
            del self._placed[agent_id]
            self._hints.unwant(self._store.keys(agent_id, "box"))

    def _check_place(self, agent_id: str) -> None:
        """Somebody may have taken a place. Asked of the store: a hint may come late."""
        check = asyncio.ensure_future(self._find_replaced(agent_id))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    async def _find_replaced(self, agent_id: str) -> None:
        place = self._placed.get(agent_id)
        if place is None:
            return
        stream_id, replaced = place
        try:
            if await self.renew(agent_id, stream_id):
                return
        except BackendUnavailable:
            return  # whoever has a place renews it anyway
        if self._placed.get(agent_id) == place:
            self._forget_place(agent_id, stream_id)
            replaced()

    # --- hints ----------------------------------------------------------------------------

    def _heard(self, channel: str, word: str) -> None:
        agent_id = self._store.keys.agent_of(channel)
        kind, of = word[:1], word[1:]
        if kind == READY:
            self._readers.wake(agent_id)
        elif kind == ANSWERED:
            self._askers.wake(f"{agent_id} {of}")
        elif kind == OCCUPIED and agent_id in self._placed and self._placed[agent_id][0] != of:
            self._check_place(agent_id)

    def _may_have_missed(self, channel: str) -> None:
        agent_id = self._store.keys.agent_of(channel)
        self._readers.wake(agent_id)
        self._askers.wake_all(f"{agent_id} ")
        if agent_id in self._placed:
            self._check_place(agent_id)

    def wake_all(self) -> None:
        """After the store was away."""
        self._readers.wake_all()
        self._askers.wake_all()

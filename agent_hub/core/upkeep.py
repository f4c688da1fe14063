"""What the hub does by itself, again and again: expiry, notices, presence."""

from __future__ import annotations

import asyncio
import logging

from agent_hub.core.clock import Clock, Timer
from agent_hub.core.errors import BackendUnavailable, HubError
from agent_hub.core.mail import Undelivered
from agent_hub.core.metrics import Metrics
from agent_hub.core.owed import Owed
from agent_hub.core.presence import Presence
from agent_hub.core.queue_backend import RENEW_SECONDS, QueueBackend
from agent_hub.core.rate_limit import Buckets
from agent_hub.core.streams import Streams

TICK_SECONDS = 1.0
PRESENCE_TICKS = 5
RENEW_TICKS = round(RENEW_SECONDS / TICK_SECONDS)
BUCKET_TICKS = 60
TOUCH_SECONDS = 30.0
TOUCHED_AT_ONCE = 256
ENDINGS_AT_ONCE = 1_000

log = logging.getLogger(__name__)


class Upkeep:
    """One tick a second, never two at once."""

    def __init__(
        self,
        backend: QueueBackend,
        clock: Clock,
        metrics: Metrics,
        owed: Owed,
        presence: Presence,
        buckets: Buckets,
        streams: Streams,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._metrics = metrics
        self._owed = owed
        self._presence = presence
        self._buckets = buckets
        self._streams = streams
        self._ticks = 0
        self._due_at = 0.0
        self._touched_at = clock.time()
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._waits_for = ""  # why the store did not do all in the last round

    def start(self) -> None:
        self._due_at = self._clock.monotonic() + TICK_SECONDS
        self._timer = self._clock.call_later(TICK_SECONDS, self._tick)

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await self._task

    def _tick(self) -> None:
        self._metrics.loop_lag(max(0.0, self._clock.monotonic() - self._due_at))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._round())
        self.start()

    async def _round(self) -> None:
        self._ticks += 1
        said, self._waits_for = self._waits_for, ""
        try:
            # Before the sweep: after a leap of the wall clock, as when the machine slept, who is
            # connected would seem to have given no sign of life for as long.
            if abs(self._clock.time() - self._touched_at) >= TOUCH_SECONDS:
                await self._touch_connected()
            if self._ticks % RENEW_TICKS == 0:
                await self._streams.renew()
            await self._owed.settle()
            await self._backend.sweep()
            await self._tell_senders()
            if self._ticks % PRESENCE_TICKS == 0:
                self._presence.sweep(await self._backend.agents())
        except BackendUnavailable as away:
            self._waits_for = away.detail
        except Exception:
            # A tick that failed must not be the last one: expiry and notices hang on it.
            log.exception("upkeep failed")
        if self._waits_for not in ("", said):
            log.warning("upkeep waits for the store: %s", self._waits_for)
        if self._ticks % BUCKET_TICKS == 0:
            self._buckets.sweep()

    async def _tell_senders(self) -> None:
        ended = await self._backend.undelivered(ENDINGS_AT_ONCE)
        away: set[str] = set()
        for one in ended:
            if one.notify and one.sender not in away and not await self._notice(one):
                away.add(one.sender)
        told = [one for one in ended if not (one.notify and one.sender in away)]
        if told:
            await self._backend.noted(told)

    async def _notice(self, ended: Undelivered) -> bool:
        """False where it is to be tried again: the store may be away for one sender alone."""
        try:
            await self._backend.notice(ended)
        except BackendUnavailable as away:
            self._waits_for = away.detail
            return False
        except HubError as refusal:
            # No room for an inbox of a sender that nobody registered; the standing still says it.
            log.warning("no notice for %s: %s", ended.message_id, refusal.detail)
        return True

    async def _touch_connected(self) -> None:
        """A connection is a sign of life."""
        agent_ids = self._streams.agent_ids
        for start in range(0, len(agent_ids), TOUCHED_AT_ONCE):
            some = agent_ids[start : start + TOUCHED_AT_ONCE]
            touched = await asyncio.gather(*map(self._backend.touch_agent, some))
            for agent in touched:
                if agent is not None:
                    self._presence.observe(agent)
        await self._streams.hold()
        self._touched_at = self._clock.time()

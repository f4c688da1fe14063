"""Queues in Redis, for many nodes: one script for each transition, each in one inbox's slot."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import ClassVar

from redis.asyncio.connection import AbstractConnection

from agent_hub.core.agent import Agent, Status
from agent_hub.core.bounds import LOOKED_AT_BYTES
from agent_hub.core.clock import Clock
from agent_hub.core.limits import Limits
from agent_hub.core.mail import (
    Acked,
    Backlog,
    Page,
    Receipt,
    Standing,
    Submission,
    Totals,
    Undelivered,
    Wait,
)
from agent_hub.core.message import Cursor, Delivery
from agent_hub.core.queue_backend import QueueBackend, Watch
from agent_hub.core.rate_limit import Buckets
from agent_hub.queue_backends.redis.buckets import SharedBuckets
from agent_hub.queue_backends.redis.codec import (
    ENCODER,
    acked_of,
    deliveries_of,
    page_of,
    standing_of,
    wait_of,
)
from agent_hub.queue_backends.redis.endings import Endings
from agent_hub.queue_backends.redis.keys import Keys
from agent_hub.queue_backends.redis.opening import open_link
from agent_hub.queue_backends.redis.registry import Registry
from agent_hub.queue_backends.redis.sending import Sending
from agent_hub.queue_backends.redis.store import Store
from agent_hub.queue_backends.redis.streams import Streams
from agent_hub.queue_backends.redis.sweeper import Sweeper
from agent_hub.queue_backends.redis.time import StoreClock
from agent_hub.queue_backends.refusals import too_many_waits
from agent_hub.redis_way.errors import UNREADABLE, place_of, unavailable
from agent_hub.redis_way.link import Link
from agent_hub.redis_way.pipeline import REPLY_SECONDS

PREFIX = "agenthub"
PLENTY = 1 << 40
ALIVE_SECONDS = 60


class RedisBackend(QueueBackend):
    """All state is in Redis; a node that goes takes nothing with it.

    `prefix` begins every key, for hubs that share a Redis. With a `clock` (for tests) time is
    what it says, else what Redis says. Redis is away when it does not answer for
    `reply_seconds`. `group` is the same for the processes behind one port.
    """

    name: ClassVar[str] = "redis"
    poll_seconds: ClassVar[float | None] = 5.0

    def __init__(
        self,
        url: str,
        limits: Limits | None = None,
        *,
        prefix: str = PREFIX,
        clock: Clock | None = None,
        group: str | None = None,
        reply_seconds: float = REPLY_SECONDS,
    ) -> None:
        self._url = url
        self._limits = limits or Limits()
        self._clock = clock
        self._store = Store(Keys(prefix), self._limits, clock)
        self._sending = Sending(self._store)
        self._registry = Registry(self._store)
        self._endings = Endings(self._store)
        self._streams = Streams(self._store, self._listener)
        self._sweeper = Sweeper(self._store, self._streams.is_watched)
        self._link: Link | None = None
        self._reply_seconds = reply_seconds
        self._group = group or secrets.token_hex(8)
        self._durability = "redis-none"
        self._last_since = 0.0
        self._shown_by: StoreClock | None = None

    def __repr__(self) -> str:
        return f"RedisBackend({place_of(self._url)!r})"

    @property
    def durability(self) -> str:
        return self._durability

    @property
    def is_working(self) -> bool:
        """Whether somebody waits for an answer of Redis."""
        return self._store.is_working

    @property
    def asked(self) -> int:
        """How often something was asked of Redis."""
        return self._store.asked

    async def caught_up(self) -> None:
        """Return when all hints given before this call have been heard."""
        await self._streams.caught_up()

    def _listener(self) -> AbstractConnection:
        assert self._link is not None, "not open"
        return self._link.listener()

    def clock_of(self, clock: Clock) -> Clock:
        if self._clock is None:
            self._shown_by = StoreClock(clock, self._store)
        return self._shown_by or clock

    def buckets(self, rate: float, burst: int, clock: Clock) -> Buckets:
        return SharedBuckets(rate, burst, clock, self._store)

    async def open(self) -> None:
        """Raises BackendUnavailable when Redis does not answer, is too old, or has newer keys."""
        place = place_of(self._url)
        if place == UNREADABLE:
            raise unavailable(f"Redis: {place}; write a / ? # @ of its password as %2F %3F %23 %40")
        channel = self._store.keys.hub("box")
        opened = await open_link(self._url, place, self._store.script_texts, channel)
        self._link, self._durability = opened.link, opened.durability
        self._store.open(opened.link, place, self._streams.wake_all, self._reply_seconds)
        try:
            await self._store.agree_on_layout(place)
        except BaseException:
            await self._store.close()
            await opened.link.close()
            raise
        self._streams.start()
        if self._shown_by is not None:
            await self._shown_by.compare()

    async def close(self) -> None:
        if self._link is None:
            return
        await self._streams.close()
        await self._store.close()
        await self._link.close()

    async def ping(self) -> None:
        """By a write as small as can be: a Redis that answers may still accept nothing."""
        await self._store.ask((("SET", self._store.keys.hub("alive"), "", "EX", ALIVE_SECONDS),))

    # --- mail -----------------------------------------------------------------------------

    async def send(self, submission: Submission) -> Receipt:
        return await self._sending.send(submission)

    async def accepted(self, submission: Submission) -> Receipt | None:
        return await self._sending.accepted(submission)

    async def claim(self, sender: str, key: str, fingerprint: bytes, message_id: str) -> str:
        return await self._sending.claim(sender, key, fingerprint, message_id)

    async def lease(
        self,
        agent_id: str,
        lease_id: str,
        *,
        limit: int,
        max_bytes: int,
        seconds: float | None,
        stream_id: str | None = None,
    ) -> list[Delivery]:
        answers = await self._store.call(
            "lease",
            agent_id,
            lease_id,
            limit,
            max_bytes,
            "" if seconds is None else repr(seconds),
            stream_id or "",
        )
        return deliveries_of(answers[1:], answers[0].decode()) if answers else []

    async def ack(
        self, agent_id: str, message_ids: Sequence[str], *, mode: str = "manual"
    ) -> list[Acked]:
        if not message_ids:
            return []
        return acked_of(await self._store.call("ack", agent_id, _packed(message_ids), mode))

    async def release(
        self,
        agent_id: str,
        lease_id: str,
        message_ids: Sequence[str] | None,
        *,
        failure: bool,
    ) -> int:
        some = b"" if message_ids is None else _packed(message_ids)
        (released,) = await self._store.call("release", agent_id, lease_id, some, int(failure))
        return int(released)

    async def extend(
        self, agent_id: str, lease_id: str, message_ids: Sequence[str], *, seconds: float
    ) -> int:
        (extended,) = await self._store.call(
            "extend", agent_id, lease_id, _packed(message_ids), repr(seconds)
        )
        return int(extended)

    async def look(self, agent_id: str, since: Cursor | None, limit: int) -> Page:
        return await self._page(agent_id, since, limit, only_kept=False)

    async def kept(self, agent_id: str, since: Cursor, limit: int) -> Page:
        return await self._page(agent_id, since, limit, only_kept=True)

    async def _page(
        self, agent_id: str, since: Cursor | None, limit: int, *, only_kept: bool
    ) -> Page:
        epoch, seq = ("", 0) if since is None else (since.epoch, since.seq)
        answers = await self._store.call(
            "look",
            agent_id,
            epoch,
            seq,
            limit,
            PLENTY if only_kept else LOOKED_AT_BYTES,
            int(only_kept),
        )
        if not answers:
            return Page(deliveries=[], total=0, cursor=None, recovered=False)
        return page_of(answers, since)

    async def standings(self, agent_id: str, message_id: str) -> list[Standing]:
        keys = self._store.keys
        sent, copies = await self._store.ask(
            (
                ("GET", keys.sent(agent_id, message_id)),
                ("SMEMBERS", keys.copies(agent_id, message_id)),
            )
        )
        others = {recipient.decode() for recipient in (*copies, *([sent] if sent else []))}
        recipients = sorted({agent_id, *others})
        stands = await asyncio.gather(
            *(self._standing(recipient, message_id, agent_id) for recipient in recipients)
        )
        return [standing for standing in stands if standing is not None]

    async def _standing(self, recipient: str, message_id: str, agent_id: str) -> Standing | None:
        answers = await self._store.call("standing", recipient, message_id)
        if not answers or answers[0] is None:
            return None
        return standing_of(recipient, answers[0], agent_id)

    # --- waits ----------------------------------------------------------------------------

    async def open_wait(
        self, agent_id: str, question_id: str, asked: str, *, seconds: float
    ) -> Wait:
        opening = self._open_wait(agent_id, question_id, asked, seconds)
        return await self._store.shielded(opening)

    async def _open_wait(self, agent_id: str, question_id: str, asked: str, seconds: float) -> Wait:
        answers = await self._store.call_made(
            "open_wait", agent_id, question_id, asked, repr(seconds), self._since()
        )
        if answers == [b"refused"]:
            raise too_many_waits(agent_id, self._limits)
        return wait_of(question_id, answers)

    def _since(self) -> str:
        """When a wait is opened; a test's time may stand still, where Redis' time never does."""
        if self._clock is None:
            return ""
        self._last_since = max(self._clock.time(), self._last_since + 1e-6)
        return repr(self._last_since)

    async def wait(self, agent_id: str, question_id: str) -> Wait | None:
        answers = await self._store.call("wait", agent_id, question_id)
        return wait_of(question_id, answers) if answers else None

    async def close_wait(
        self,
        agent_id: str,
        question_id: str,
        *,
        keep: bool = False,
        abandoned: Submission | None = None,
    ) -> None:
        await self._store.shielded(self._close_wait(agent_id, question_id, keep, abandoned))

    async def _close_wait(
        self, agent_id: str, question_id: str, keep: bool, abandoned: Submission | None
    ) -> None:
        await self._store.call("close_wait", agent_id, question_id, int(keep))
        if abandoned is not None:
            await self._sending.abandon(agent_id, question_id, abandoned)

    # --- what ended without an ack --------------------------------------------------------

    async def undelivered(self, limit: int) -> list[Undelivered]:
        """Empty on all nodes but one: each ending is told and counted once."""
        if not await self._sweeper.leads():
            return []
        return await self._endings.oldest(limit)

    async def notice(self, ended: Undelivered) -> bool:
        return await self._store.shielded(self._endings.notice(ended))

    async def noted(self, ended: Sequence[Undelivered]) -> None:
        await self._store.shielded(self._endings.noted(ended))

    async def sweep(self) -> None:
        if self._shown_by is not None:
            await self._shown_by.compare()
        await self._sweeper.sweep()

    async def totals(self) -> Totals:
        return await self._sweeper.totals()

    async def backlogs(self) -> list[Backlog]:
        return await self._sweeper.backlogs()

    async def tells_totals(self) -> bool:
        return await self._sweeper.tells(self._group)

    # --- streams and wake-ups -------------------------------------------------------------

    async def occupy(self, agent_id: str, stream_id: str, replaced: Callable[[], None]) -> None:
        await self._streams.occupy(agent_id, stream_id, replaced)

    async def renew(self, agent_id: str, stream_id: str) -> bool:
        return await self._streams.renew(agent_id, stream_id)

    async def vacate(self, agent_id: str, stream_id: str) -> None:
        await self._streams.vacate(agent_id, stream_id)

    def watch(
        self, agent_id: str, wake: Callable[[], None], *, question_id: str | None = None
    ) -> Watch:
        return self._streams.watch(agent_id, wake, question_id)

    # --- agents ---------------------------------------------------------------------------

    async def put_agent(self, agent: Agent) -> bool:
        return await self._registry.put(agent)

    async def touch_agent(self, agent_id: str, status: Status | None = None) -> Agent | None:
        return await self._registry.touch(agent_id, status)

    async def remove_agent(self, agent_id: str) -> bool:
        return await self._registry.remove(agent_id)

    async def agent(self, agent_id: str) -> Agent | None:
        return await self._registry.get(agent_id)

    async def agents(self) -> list[Agent]:
        return await self._registry.every()

    async def some_agents(self, limit: int, max_bytes: int) -> list[Agent]:
        return await self._registry.some(limit, max_bytes)


def _packed(message_ids: Sequence[str]) -> bytes:
    return ENCODER.encode(list(message_ids))

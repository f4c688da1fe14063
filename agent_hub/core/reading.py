"""How an agent reads its inbox: look, take, settle, or keep a stream open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from agent_hub.core.admission import Admission
from agent_hub.core.bounds import (
    DEFAULT_LEASE_SECONDS,
    LOOKED_AT_BYTES,
    MAX_LOOKED_AT,
    MAX_READ_WAIT_SECONDS,
    MAX_RECEIVED,
    MAX_SETTLED_IDS,
    RECEIVED_BYTES,
    check_count,
    check_lease,
    check_span,
)
from agent_hub.core.errors import BackendUnavailable, Invalid, NotFound
from agent_hub.core.mail import Page, Standing, State
from agent_hub.core.message import Cursor, Delivery, check_agent_id, is_message_id, message_ids_of
from agent_hub.core.metrics import Metrics
from agent_hub.core.owed import Owed
from agent_hub.core.permissions import Permissions
from agent_hub.core.principal import Principal, Scope
from agent_hub.core.queue_backend import QueueBackend, Watch
from agent_hub.core.registry import Registry
from agent_hub.core.streams import Streams
from agent_hub.core.subscription import DEFAULT_IN_FLIGHT, MAX_IN_FLIGHT, Subscription
from agent_hub.core.taking import Taking
from agent_hub.core.tally import Tally
from agent_hub.core.vigil import Vigil, Watched

UNREAD_LOOKED_AT = 64
UNNAMED = ""

_T = TypeVar("_T")


class SettledCounts(Struct, kw_only=True):
    """How many messages one call acked, released and extended."""

    acked: int
    released: int
    extended: int


class Unread(Struct, kw_only=True):
    """How many messages wait to be read. `senders` counts the oldest of them, by who wrote."""

    total: int
    senders: Counter[str]


NOTHING_UNREAD = Unread(total=0, senders=Counter())


class _Both:
    """An interest in an inbox, with the watch over the credential that it was opened with."""

    def __init__(self, mail: Watch, credential: Watched) -> None:
        self._mail = mail
        self._credential = credential

    def close(self) -> None:
        self._mail.close()
        self._credential.close()


class Reading:
    """Checks and counts what agents read, and waits with them for mail."""

    def __init__(
        self,
        backend: QueueBackend,
        metrics: Metrics,
        tally: Tally,
        admission: Admission,
        permissions: Permissions,
        vigil: Vigil,
        registry: Registry,
        owed: Owed,
        streams: Streams,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self._tally = tally
        self._admission = admission
        self._permissions = permissions
        self._vigil = vigil
        self._registry = registry
        self._owed = owed
        self._streams = streams

    async def look(
        self,
        caller: Principal,
        agent_id: str,
        *,
        since: str | None = None,
        limit: int = 50,
        wait: float = 0.0,
    ) -> Page:
        """Show what is owed to an agent, and with `since` what is kept; nothing changes.

        `wait` (seconds) lets an empty answer wait for something to show. A page holds at most
        LOOKED_AT_BYTES of content, and one message at least.
        """
        await self._check(caller, agent_id, limit, MAX_LOOKED_AT, wait, within="?")
        cursor = None if since is None else Cursor.parse(since, "?since")
        if (counted := self._admission.take(agent_id)) is not None:
            await counted
        await self._registry.sign_of_life(agent_id)

        async def shown() -> Page | None:
            page = await self._backend.look(agent_id, cursor, limit)
            return page if page.deliveries else None

        page = await self._when_there_is(caller, agent_id, wait, shown)
        return _cut(page or await self._backend.look(agent_id, cursor, limit))

    async def position(
        self, caller: Principal, agent_id: str, answer: Delivery | None = None
    ) -> Cursor | None:
        """The position of the answer to a question; without one the newest of the asker's inbox.

        None for an inbox that does not exist, and when the store cannot say: what became of the
        question must not wait for it.
        """
        if answer is not None:
            return answer.cursor
        with suppress(BackendUnavailable):
            await self._may_read(caller, agent_id)
            return (await self._backend.look(agent_id, None, 0)).cursor
        return None

    async def unread(self, caller: Principal, agent_id: str) -> Unread:
        """What waits for an agent, to be told beside another answer: it counts as no call.

        One that may not read is told of nothing, nor is anybody while the store is away: the other
        answer is not refused for it.
        """
        if not caller.may(Scope.READ):
            return NOTHING_UNREAD
        try:
            await self._may_read(caller, agent_id)
            page = await self._backend.look(agent_id, None, UNREAD_LOOKED_AT)
        except BackendUnavailable:
            return NOTHING_UNREAD
        ready = (d.message.sender for d in page.deliveries if d.state == State.READY)
        return Unread(total=page.ready, senders=Counter(ready))

    async def watch(
        self,
        caller: Principal,
        agent_id: str,
        wake: Callable[[], None],
        *,
        on_lost: Callable[[], None],
    ) -> Watch:
        """Call `wake`, soon, whenever an agent's inbox may have got mail; a hint, not a count.

        `on_lost` is called once the caller's credential is no good any more.
        """
        check_agent_id(agent_id, "/agent_id")
        await self._may_read(caller, agent_id)
        return _Both(self._backend.watch(agent_id, wake), self._vigil.over(caller, on_lost))

    async def receive(
        self,
        caller: Principal,
        agent_id: str,
        *,
        limit: int = 50,
        wait: float = 0.0,
        lease: float | None = None,
        max_bytes: int = RECEIVED_BYTES,
    ) -> Taking:
        """Take messages: with `lease` for so many seconds, else until their writing is known.

        `wait` (seconds) lets an empty answer wait for a message.
        """
        await self._check(caller, agent_id, limit, MAX_RECEIVED, wait, within="/")
        if lease is not None:
            check_lease(lease)
        if (counted := self._admission.take(agent_id)) is not None:
            await counted
        await self._registry.sign_of_life(agent_id)

        return Taking(
            self._backend,
            agent_id,
            limit=limit,
            max_bytes=max_bytes,
            seconds=lease,
            until_found=lambda read: self._when_there_is(caller, agent_id, wait, read),
            via=caller.via,
            tally=self._tally,
            owed=self._owed,
        )

    async def _may_read(self, caller: Principal, agent_id: str) -> None:
        if not caller.is_anyone:
            caller.must_have(Scope.READ)
            await self._permissions.act_as(caller, agent_id)

    async def _check(
        self, caller: Principal, agent_id: str, limit: int, most: int, wait: float, *, within: str
    ) -> None:
        """`within` opens the pointer of a fault: ? for a query, / for a body."""
        check_agent_id(agent_id, f"{within}agent_id")
        await self._may_read(caller, agent_id)
        check_count(f"{within}limit", limit, most)
        check_span(f"{within}wait", wait, MAX_READ_WAIT_SECONDS)

    async def _when_there_is(
        self,
        caller: Principal,
        agent_id: str,
        seconds: float,
        read: Callable[[], Awaitable[_T | None]],
    ) -> _T | None:
        """What `read` gives as soon as it gives something; None when the time is over.

        Raises Unauthenticated when the caller's credential ends meanwhile.
        """
        found = await read()
        if found or seconds <= 0 or self._admission.is_draining:
            return found
        with (
            self._admission.alarm(seconds) as alarm,
            self._vigil.over(caller, alarm.end) as credential,
        ):
            watch = self._backend.watch(agent_id, alarm.wake)
            alarm.wake()  # what came before the watch stood
            try:
                while await alarm.wait():
                    source = alarm.source
                    found = await read()
                    if found:
                        self._metrics.woken(source)
                        return found
                credential.check()
            finally:
                watch.close()
        return None

    async def settle(
        self,
        caller: Principal,
        agent_id: str,
        *,
        ack: Sequence[str] = (),
        release: Sequence[str] = (),
        extend: Sequence[str] = (),
        lease_id: str | None = None,
        lease: float = DEFAULT_LEASE_SECONDS,
    ) -> SettledCounts:
        """Ack by id; release and extend by id and lease. Unknown ids are passed over."""
        check_agent_id(agent_id, "/agent_id")
        await self._may_read(caller, agent_id)
        if (release or extend) and lease_id is None:
            raise Invalid.at("/lease_id", "needed to release or extend: only the holder may")
        check_lease(lease)
        for pointer, ids in (("/ids", ack), ("/release", release), ("/extend", extend)):
            if len(ids) > MAX_SETTLED_IDS:
                raise Invalid.at(pointer, f"at most {MAX_SETTLED_IDS} ids")
        await self._registry.sign_of_life(agent_id)
        ack, release, extend = map(message_ids_of, (ack, release, extend))
        backend, held_by = self._backend, lease_id or ""
        acked = await backend.ack(agent_id, ack, mode="manual") if ack else []
        self._tally.acked("manual", acked)
        await self._streams.acked_elsewhere(agent_id, ack)
        released = await backend.release(agent_id, held_by, release, failure=True) if release else 0
        extended = await backend.extend(agent_id, held_by, extend, seconds=lease) if extend else 0
        return SettledCounts(acked=len(acked), released=released, extended=extended)

    async def standings(self, caller: Principal, agent_id: str, message_id: str) -> list[Standing]:
        """Where a message stands, to its sender or a recipient. Raises NotFound.

        To a caller who may not see who is registered, every other recipient is UNNAMED.
        """
        check_agent_id(agent_id, "?agent_id")
        if not caller.is_anyone:
            caller.must_have(Scope.READ, Scope.SEND)
            await self._permissions.act_as(caller, agent_id)
        if (counted := self._admission.take(agent_id)) is not None:
            await counted
        known = is_message_id(message_id)
        standings = await self._backend.standings(agent_id, message_id) if known else []
        if not standings:
            raise NotFound(f"{agent_id} neither sent nor got a message {message_id!r}, lately")
        if not caller.may(Scope.LIST):  # a message to ALL would name them all
            for standing in standings:
                standing.recipient = agent_id if standing.recipient == agent_id else UNNAMED
        return standings

    async def subscribe(
        self,
        caller: Principal,
        agent_id: str,
        *,
        receipts: bool = True,
        since: str | None = None,
        max_in_flight: int = DEFAULT_IN_FLIGHT,
    ) -> Subscription:
        """Open the agent's stream; an older one of the same agent ends. Registers the agent.

        With `receipts` the reader proves what it read by number, else it acks by id. The stream
        ends with the caller's credential.
        """
        check_agent_id(agent_id, "/agent_id")
        caller.must_have(Scope.READ)
        caller.must_act_as(agent_id)
        check_count("?max_in_flight", max_in_flight, MAX_IN_FLIGHT)
        cursor = None if since is None else Cursor.parse(since, "?since")
        self._admission.refuse_when_draining()
        await self._registry.come_alive(caller, agent_id)
        return await self._streams.open(
            caller,
            agent_id,
            receipts=receipts,
            max_in_flight=max_in_flight,
            since=cursor,
        )


def _cut(page: Page) -> Page:
    """The page as far as its content fits into one answer, which is written at once."""
    room = LOOKED_AT_BYTES
    for count, delivery in enumerate(page.deliveries):
        room -= delivery.message.size
        if room < 0 and count:
            shown = page.deliveries[:count]
            return replace(page, deliveries=shown, cursor=shown[-1].cursor)
    return page

"""The hub: every rule about messages between agents, behind one method for each call of a door."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from agent_hub.core.agent import Agent, Status, check_agent
from agent_hub.core.asking import Asking, Question
from agent_hub.core.clock import Clock
from agent_hub.core.errors import (
    ContentTooLarge,
    Draining,
    HubError,
    Invalid,
    NotFound,
    RateLimited,
    WaitForSelf,
)
from agent_hub.core.message import (
    ALL,
    MAX_CONTENT_BYTES,
    MAX_TTL_SECONDS,
    Cursor,
    Delivery,
    Draft,
    check_agent_id,
    is_message_id,
    is_sendable_type,
    is_traceparent,
    new_message_id,
)
from agent_hub.core.metrics import Metrics
from agent_hub.core.presence import Presence, PresenceEvent
from agent_hub.core.principal import Principal
from agent_hub.core.queue_backend import (
    Acked,
    Page,
    QueueBackend,
    Receipt,
    Standing,
    State,
    Submission,
    Totals,
    Watch,
)
from agent_hub.core.rate_limit import Quota, TokenBuckets
from agent_hub.core.similar import SimilarIds
from agent_hub.core.subscription import DEFAULT_IN_FLIGHT, MAX_IN_FLIGHT, Subscription
from agent_hub.core.taking import Taking
from agent_hub.core.upkeep import Upkeep
from agent_hub.core.wakeup import Wakeup

HEARTBEAT_SECONDS = 30.0
DEFAULT_TTL_SECONDS = 300.0
MIN_TTL_SECONDS = 0.001
MAX_ASK_SECONDS = 300.0
MAX_READ_WAIT_SECONDS = 50.0
MAX_LEASE_SECONDS = 3_600.0
DEFAULT_LEASE_SECONDS = 30.0
MAX_RECEIVED = 200
MAX_LOOKED_AT = 1_000
RECEIVED_BYTES = 4 * 1024 * 1024
MAX_SETTLED_IDS = 1_000
UNREAD_LOOKED_AT = 64
MAX_SHOWN_PEERS = 1_000
MAX_KEY_CHARACTERS = 255
RECIPIENTS_PER_TOKEN = 50
BROADCAST_SLICE = 256


_T = TypeVar("_T")


class Registered(Struct, kw_only=True):
    """The answer to a registration. `peers` are the others, at most MAX_SHOWN_PEERS of them."""

    agent: Agent
    is_new: bool
    peers: list[tuple[Agent, Status]]


class Sent(Struct, kw_only=True):
    """The answer to a message to one agent. `status` is the recipient's, None if unknown.

    `similar` names registered ids like the one that nobody has registered.
    """

    receipt: Receipt
    status: Status | None
    similar: list[str]

    @property
    def replayed(self) -> bool:
        return self.receipt.replayed


class Broadcast(Struct, kw_only=True):
    """The answer to a message to ALL: who it was accepted for, and for whom not, by code."""

    message_id: str
    expires_at: float
    accepted: list[str]
    rejected: list[tuple[str, str]]
    replayed: bool


class Unread(Struct, kw_only=True):
    """How many messages wait to be read. `senders` counts the oldest of them, by who wrote."""

    total: int
    senders: Counter[str]


class SettledCounts(Struct, kw_only=True):
    """How many messages one call acked, released and extended."""

    acked: int
    released: int
    extended: int


class Hub:
    """Agents register, find each other, send, broadcast, ask, wait and read.

    Every method takes the caller first and raises a HubError for what it refuses; a refusal
    changed nothing. `default_ttl` is in seconds.
    """

    def __init__(
        self,
        backend: QueueBackend,
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        buckets: TokenBuckets | None = None,
        default_ttl: float = DEFAULT_TTL_SECONDS,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._metrics = Metrics() if metrics is None else metrics
        self._buckets = TokenBuckets(0, 1, clock) if buckets is None else buckets
        self._default_ttl = default_ttl
        self._subscriptions: dict[str, Subscription] = {}
        self._alarms: set[Wakeup] = set()
        self._draining = False
        self._started_at = clock.monotonic()
        self._asking = Asking(backend, self._metrics, self._alarm, self._count_acked)
        self.on_presence: Callable[[list[PresenceEvent]], None] = lambda events: None
        self._presence = Presence(clock, self._announce)
        self._similar = SimilarIds(self._presence)
        self._upkeep = Upkeep(
            backend, clock, self._metrics, self._presence, self._buckets, self._connected
        )

    # --- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the store and begin the upkeep."""
        await self._backend.open()
        self._presence.sweep(await self._backend.agents())
        self._upkeep.start()

    async def drain(self) -> None:
        """Refuse what is new, and let every wait and every stream end as if its time were up."""
        self._draining = True
        for alarm in list(self._alarms):
            alarm.end()
        for subscription in list(self._subscriptions.values()):
            subscription.end()

    async def stop(self) -> None:
        """Give back all leases, end the upkeep, close the store."""
        await self.drain()
        for subscription in list(self._subscriptions.values()):
            await subscription.close()
        await self._upkeep.stop()
        self._presence.close()
        await self._backend.close()

    @property
    def is_draining(self) -> bool:
        return self._draining

    @property
    def durability(self) -> str:
        return self._backend.durability

    @property
    def backend_name(self) -> str:
        return self._backend.name

    @property
    def uptime(self) -> float:
        """Seconds since this hub was made."""
        return self._clock.monotonic() - self._started_at

    @property
    def open_subscriptions(self) -> int:
        return len(self._subscriptions)

    @property
    def open_waits(self) -> int:
        return len(self._asking)

    async def totals(self) -> Totals:
        """Count every message there was."""
        return await self._backend.totals()

    @property
    def registered_agents(self) -> int:
        return len(self._presence)

    async def census(self) -> Counter[Status]:
        """How many registered agents there are of each status."""
        return Counter(status for _, status in self._with_status(await self._backend.agents()))

    async def ping(self) -> None:
        """Raise BackendUnavailable unless the store can accept now."""
        await self._backend.ping()

    def _connected(self) -> Iterable[str]:
        return list(self._subscriptions)

    def _announce(self, events: list[PresenceEvent]) -> None:
        self.on_presence(events)

    def _alarm(self, timeout: float | None) -> Wakeup:
        alarm = _Tracked(self._clock, timeout, self._alarms)
        if self._draining:
            alarm.end()
        return alarm

    # --- agents ---------------------------------------------------------------------------

    async def register(self, caller: Principal, agent: Agent) -> Registered:
        """Make an agent known, or replace what is known of it."""
        check_agent_id(agent.agent_id, "/agent_id")
        caller.must_act_as(agent.agent_id)
        check_agent(agent)
        self._refuse_when_draining()
        self._take(agent.agent_id)
        is_new = await self._backend.put_agent(agent)
        registered = await self._backend.agent(agent.agent_id) or agent
        self._presence.observe(registered)
        others = (a for a in await self._backend.agents() if a.agent_id != agent.agent_id)
        peers = self._with_status(islice(others, MAX_SHOWN_PEERS))
        return Registered(agent=registered, is_new=is_new, peers=peers)

    def _with_status(self, agents: Iterable[Agent]) -> list[tuple[Agent, Status]]:
        now = self._clock.time()
        return [(agent, agent.status_at(now)) for agent in agents]

    async def agents(
        self, caller: Principal, *, status: str | None = None, capability: str | None = None
    ) -> list[tuple[Agent, Status]]:
        """All registered agents that match."""
        if status is not None and status not in list(Status):
            raise Invalid.at("?status", f"one of {', '.join(Status)}")
        self._take(caller.peer)
        return [
            (agent, shown)
            for agent, shown in self._with_status(await self._backend.agents())
            if status in (None, shown) and (capability is None or capability in agent.capabilities)
        ]

    async def agent(self, caller: Principal, agent_id: str) -> tuple[Agent, Status]:
        """One registered agent. Raises NotFound."""
        self._take(caller.peer)
        return self._found(agent_id, await self._backend.agent(agent_id))

    def _found(self, agent_id: str, agent: Agent | None) -> tuple[Agent, Status]:
        if agent is None:
            raise NotFound(f"no agent {agent_id!r} is registered")
        return agent, agent.status_at(self._clock.time())

    async def heartbeat(
        self, caller: Principal, agent_id: str, status: str | None = None
    ) -> tuple[Agent, Status]:
        """A sign of life. Raises NotFound for an agent that is not registered."""
        caller.must_act_as(agent_id)
        if status is not None and status not in (Status.ACTIVE, Status.IDLE, Status.BUSY):
            raise Invalid.at("/status", "one of active, idle, busy")
        said = None if status is None else Status(status)
        agent = await self._backend.touch_agent(agent_id, said)
        if agent is not None:
            self._presence.observe(agent)
        return self._found(agent_id, agent)

    async def deregister(self, caller: Principal, agent_id: str) -> None:
        """End a registration and its stream; its mail stays. Raises NotFound."""
        caller.must_act_as(agent_id)
        if not await self._backend.remove_agent(agent_id):
            raise NotFound(f"no agent {agent_id!r} is registered")
        self._presence.remove(agent_id)
        self._backend.occupy(agent_id, lambda: None).close()

    async def _sign_of_life(self, agent_id: str) -> None:
        if self._presence.is_stale(agent_id):
            agent = await self._backend.touch_agent(agent_id)
            if agent is not None:
                self._presence.observe(agent)

    # --- sending --------------------------------------------------------------------------

    async def send(self, caller: Principal, draft: Draft) -> Sent | Broadcast:
        """Accept a message to one agent, or a copy for each when it is to ALL."""
        try:
            self._check_draft(caller, draft)
            if draft.to == ALL:
                return await self._broadcast(caller, draft)
            self._take(draft.sender)
            # Before the message: what was accepted is never refused.
            await self._sign_of_life(draft.sender)
            receipt = await self._backend.send(self._submission(draft))
        except HubError as refusal:
            self._metrics.rejected(refusal.code)
            raise
        return self._sent(caller, receipt, draft.to)

    def _sent(self, caller: Principal, receipt: Receipt, to: str) -> Sent:
        if not receipt.replayed:
            self._metrics.accepted(caller.via, "direct")
        recipient = receipt.recipient
        if recipient is None:
            return Sent(receipt=receipt, status=None, similar=self._similar.to(to))
        return Sent(receipt=receipt, status=recipient.status_at(self._clock.time()), similar=[])

    def _check_draft(self, caller: Principal, draft: Draft) -> None:
        """Raise for everything that a sender can have got wrong."""
        check_agent_id(draft.sender, "/from")
        caller.must_act_as(draft.sender)
        if draft.to != ALL:
            check_agent_id(draft.to, "/to")
        if not is_sendable_type(draft.type):
            raise Invalid.at(
                "/type",
                "1 to 64 of a-z 0-9 _ . - and a letter first; hub.* and agent.* are the hub's own",
            )
        if draft.ttl is not None and not MIN_TTL_SECONDS <= draft.ttl <= MAX_TTL_SECONDS:
            raise Invalid.at("/ttl", f"{MIN_TTL_SECONDS} to {MAX_TTL_SECONDS:.0f} seconds")
        if draft.reply_to is not None and not is_message_id(draft.reply_to):
            raise Invalid.at("/reply_to", "the id of a message: m_ and 22 characters")
        if draft.traceparent is not None and not is_traceparent(draft.traceparent):
            raise Invalid.at("/traceparent", "a W3C traceparent")
        self._check_key(draft.idempotency_key)
        if draft.size > MAX_CONTENT_BYTES:
            raise ContentTooLarge(
                f"text and payload are {draft.size} bytes, at most {MAX_CONTENT_BYTES} are taken"
            )
        self._refuse_when_draining()

    def _check_key(self, key: str | None) -> None:
        if key is not None and not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isprintable()):
            raise Invalid.at("/idempotency_key", f"1 to {MAX_KEY_CHARACTERS} printable characters")

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise Draining("the hub is shutting down", retry_after=1.0)

    def _submission(self, draft: Draft, *, question: bool = False) -> Submission:
        named = question or draft.idempotency_key is not None
        return Submission(
            draft=draft,
            message_id=new_message_id(),
            recipient=draft.to,
            ttl=self._default_ttl if draft.ttl is None else draft.ttl,
            fingerprint=_fingerprint(draft) if named else b"",
        )

    async def _broadcast(self, caller: Principal, draft: Draft) -> Broadcast:
        others = [a.agent_id for a in await self._backend.agents() if a.agent_id != draft.sender]
        self._take(draft.sender, 1 + len(others) / RECIPIENTS_PER_TOKEN)
        await self._sign_of_life(draft.sender)
        submission = replace(self._submission(draft), broadcast=True)
        replayed = await self._claim(submission)
        accepted: list[str] = []
        rejected: list[tuple[str, str]] = []
        fresh = 0
        for count, recipient in enumerate(others):
            try:
                copy = replace(submission, recipient=recipient)
                fresh += not (await self._backend.send(copy)).replayed
                accepted.append(recipient)
            except HubError as refusal:
                self._metrics.rejected(refusal.code)
                rejected.append((recipient, refusal.code))
            if count % BROADCAST_SLICE == BROADCAST_SLICE - 1:
                await asyncio.sleep(0)  # a large broadcast lets others through
        self._metrics.accepted(caller.via, "broadcast", fresh)
        return Broadcast(
            message_id=submission.message_id,
            expires_at=self._clock.time() + submission.ttl,
            accepted=accepted,
            rejected=rejected,
            replayed=replayed,
        )

    async def _claim(self, submission: Submission) -> bool:
        """Take the id that the key stands for, so that a retry fills only the gaps."""
        draft = submission.draft
        if draft.idempotency_key is None:
            return False
        minted = submission.message_id
        submission.message_id = await self._backend.claim(
            draft.sender, draft.idempotency_key, submission.fingerprint, minted
        )
        return submission.message_id != minted

    async def ask(self, caller: Principal, draft: Draft, timeout: float) -> tuple[Sent, Question]:
        """Send a question; the answer is awaited with `Question.answered`.

        `timeout` is 0 to MAX_ASK_SECONDS. Raises WaitForSelf, TooManyWaits, and what `send` does.
        """
        try:
            self._check_draft(caller, draft)
            if draft.to == ALL:
                raise Invalid.at("/wait", "a message to ALL has no one reply to wait for")
            if draft.to == draft.sender:
                raise WaitForSelf("an agent cannot wait for its own reply")
            _check_span("/wait", timeout, MAX_ASK_SECONDS)
            self._take(draft.sender)
            await self._sign_of_life(draft.sender)
            question = await self._asking.ask(self._submission(draft, question=True), timeout)
        except HubError as refusal:
            self._metrics.rejected(refusal.code)
            raise
        return self._sent(caller, question.receipt, draft.to), question

    # --- reading --------------------------------------------------------------------------

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

        `wait` (seconds) lets an empty answer wait for something to show.
        """
        self._check_reading(caller, agent_id, limit, MAX_LOOKED_AT, wait, within="?")
        cursor = None if since is None else Cursor.parse(since, "?since")
        self._take(agent_id)
        await self._sign_of_life(agent_id)

        async def shown() -> Page | None:
            page = await self._backend.look(agent_id, cursor, limit)
            return page if page.deliveries else None

        page = await self._when_there_is(agent_id, wait, shown)
        return page or await self._backend.look(agent_id, cursor, limit)

    async def position(self, caller: Principal, agent_id: str) -> Cursor | None:
        """The newest position of an inbox; None for one that does not exist."""
        caller.must_act_as(agent_id)
        return (await self._backend.look(agent_id, None, 0)).cursor

    async def unread(self, caller: Principal, agent_id: str) -> Unread:
        """What waits for an agent, to be told beside another answer: it counts as no call."""
        caller.must_act_as(agent_id)
        page = await self._backend.look(agent_id, None, UNREAD_LOOKED_AT)
        ready = [d.message.sender for d in page.deliveries if d.state == State.READY]
        total = page.total - len(page.deliveries) + len(ready)
        return Unread(total=total, senders=Counter(ready))

    def watch(self, caller: Principal, agent_id: str, wake: Callable[[], None]) -> Watch:
        """Call `wake`, soon, whenever an agent's inbox may have got mail; a hint, not a count."""
        check_agent_id(agent_id, "/agent_id")
        caller.must_act_as(agent_id)
        return self._backend.watch(agent_id, wake)

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
        self._check_reading(caller, agent_id, limit, MAX_RECEIVED, wait, within="/")
        if lease is not None:
            check_lease(lease)
        self._take(agent_id)
        await self._sign_of_life(agent_id)

        def count_delivered(deliveries: Sequence[Delivery]) -> None:
            now = self._clock.time()
            for delivery in deliveries:
                age = now - delivery.message.accepted_at
                self._metrics.delivered(caller.via, delivery.attempt > 1, age)

        return Taking(
            self._backend,
            agent_id,
            limit=limit,
            max_bytes=max_bytes,
            seconds=lease,
            until_found=lambda read: self._when_there_is(agent_id, wait, read),
            on_delivered=count_delivered,
            on_ack=self._count_acked,
        )

    def _check_reading(
        self, caller: Principal, agent_id: str, limit: int, most: int, wait: float, *, within: str
    ) -> None:
        """`within` opens the pointer of a fault: ? for a query, / for a body."""
        check_agent_id(agent_id, f"{within}agent_id")
        caller.must_act_as(agent_id)
        if not 1 <= limit <= most:
            raise Invalid.at(f"{within}limit", f"1 to {most}")
        _check_span(f"{within}wait", wait, MAX_READ_WAIT_SECONDS)

    async def _when_there_is(
        self, agent_id: str, seconds: float, read: Callable[[], Awaitable[_T | None]]
    ) -> _T | None:
        """What `read` gives as soon as it gives something; None when the time is over."""
        found = await read()
        if found or seconds <= 0 or self._draining:
            return found
        with self._alarm(seconds) as alarm:
            watch = self._backend.watch(agent_id, alarm.wake)
            alarm.wake()  # what came before the watch stood
            try:
                while await alarm.wait():
                    self._metrics.woken("hint")
                    found = await read()
                    if found:
                        return found
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
        caller.must_act_as(agent_id)
        if (release or extend) and lease_id is None:
            raise Invalid.at("/lease_id", "needed to release or extend: only the holder may")
        check_lease(lease)
        for pointer, ids in (("/ids", ack), ("/release", release), ("/extend", extend)):
            if len(ids) > MAX_SETTLED_IDS:
                raise Invalid.at(pointer, f"at most {MAX_SETTLED_IDS} ids")
        await self._sign_of_life(agent_id)
        held_by = lease_id or ""
        acked = await self._backend.ack(agent_id, ack) if ack else []
        self._count_acked("manual", acked)
        stream = self._subscriptions.get(agent_id)
        if stream is not None:
            await stream.acked_elsewhere(ack)
        backend = self._backend
        released = await backend.release(agent_id, held_by, release, failure=True) if release else 0
        extended = await backend.extend(agent_id, held_by, extend, seconds=lease) if extend else 0
        return SettledCounts(acked=len(acked), released=released, extended=extended)

    def _count_acked(self, mode: str, acked: Sequence[Acked]) -> None:
        now = self._clock.time()
        for one in acked:
            self._metrics.acked(mode, now - one.accepted_at)

    async def standings(self, caller: Principal, agent_id: str, message_id: str) -> list[Standing]:
        """Where a message stands, to its sender or a recipient. Raises NotFound."""
        check_agent_id(agent_id, "?agent_id")
        caller.must_act_as(agent_id)
        self._take(agent_id)
        standings = await self._backend.standings(agent_id, message_id)
        if not standings:
            raise NotFound(f"{agent_id} neither sent nor got a message {message_id!r}, lately")
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

        With `receipts` the reader proves what it read by number, else it acks by id.
        """
        check_agent_id(agent_id, "/agent_id")
        caller.must_act_as(agent_id)
        if not 1 <= max_in_flight <= MAX_IN_FLIGHT:
            raise Invalid.at("?max_in_flight", f"1 to {MAX_IN_FLIGHT}")
        cursor = None if since is None else Cursor.parse(since, "?since")
        self._refuse_when_draining()
        await self._come_alive(agent_id)
        older = self._subscriptions.get(agent_id)
        if older is not None:
            await older.replace()
        subscription = Subscription(
            agent_id,
            self._backend,
            self._clock,
            self._metrics,
            via=caller.via,
            receipts=receipts,
            max_in_flight=max_in_flight,
            since=cursor,
            on_close=self._unsubscribed,
            on_ack=self._count_acked,
        )
        self._subscriptions[agent_id] = subscription
        try:
            await subscription.start()
        except BaseException:
            await subscription.close()
            raise
        return subscription

    def _unsubscribed(self, subscription: Subscription) -> None:
        if self._subscriptions.get(subscription.agent_id) is subscription:
            del self._subscriptions[subscription.agent_id]

    async def _come_alive(self, agent_id: str) -> None:
        """Opening a stream registers an agent that nobody registered: name is id."""
        agent = await self._backend.touch_agent(agent_id)
        if agent is None:
            await self._backend.put_agent(Agent(agent_id=agent_id, name=agent_id))
            agent = await self._backend.agent(agent_id)
        if agent is not None:
            self._presence.observe(agent)

    # --- limits ---------------------------------------------------------------------------

    def _take(self, key: str, cost: float = 1.0) -> None:
        try:
            self._buckets.take(key, cost)
        except RateLimited:
            self._metrics.rate_limited()
            raise

    def quota(self, key: str) -> Quota | None:
        """What is left to an agent (or to an address that named none); None without a limit."""
        return self._buckets.quota(key)


class _Tracked(Wakeup):
    """A wait that ends when the hub drains."""

    def __init__(self, clock: Clock, timeout: float | None, all_alarms: set[Wakeup]) -> None:
        super().__init__(clock, timeout)
        self._all = all_alarms

    def __enter__(self) -> Wakeup:
        self._all.add(self)
        return super().__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._all.discard(self)
        super().__exit__(*exc_info)


def _check_span(pointer: str, seconds: float, longest: float, *, shortest: float = 0) -> None:
    if not shortest <= seconds <= longest:
        raise Invalid.at(pointer, f"{shortest:g} to {longest:g} seconds")


def check_lease(seconds: float) -> None:
    """Raise Invalid unless a lease can last so long."""
    _check_span("/lease", seconds, MAX_LEASE_SECONDS, shortest=1)


def _fingerprint(draft: Draft) -> bytes:
    """A digest of the content: the same for the same words, whoever retries them."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (draft.type, draft.text, draft.reply_to or "", str(draft.ttl)):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    digest.update(draft.payload)
    return digest.digest()

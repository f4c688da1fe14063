"""What a store of queues must do: the interface between the rules and the stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import ClassVar, Protocol

from msgspec import Struct

from agent_hub.core.agent import Agent, Status
from agent_hub.core.clock import Clock
from agent_hub.core.message import Cursor, Delivery, Draft
from agent_hub.core.rate_limit import Buckets, TokenBuckets

RENEW_SECONDS = 10.0
"""How often an open stream renews its place."""
OCCUPANCY_SECONDS = 30.0
"""How long a place stands that nobody renews."""


class State(StrEnum):
    """Where one message stands in one inbox; the same words at every door."""

    READY = "ready"
    LEASED = "leased"
    ACKED = "acked"
    EXPIRED = "expired"
    DEAD = "dead"
    DROPPED = "dropped"


class Limits(Struct, frozen=True, kw_only=True):
    """The sizes of things; seconds, bytes and counts."""

    inbox_messages: int = 1_000
    inbox_bytes: int = 8 * 1024 * 1024
    kept_messages: int = 200
    settled_messages: int = 200
    settled_seconds: float = 3_600.0
    failures: int = 5
    notices_per_inbox: int = 50
    ids_per_notice: int = 20
    notice_ttl: float = 3_600.0
    unregistered_inboxes: int = 10_000
    empty_inbox_seconds: float = 600.0
    idempotency_seconds: float = 600.0
    idempotency_keys_per_sender: int = 10_000
    abandoned_wait_seconds: float = 60.0
    taking_seconds: float = 60.0
    waits_per_agent: int = 8
    answers_per_agent: int = 1_000
    registration_seconds: float = 24 * 3_600.0
    agents: int = 20_000
    agents_per_owner: int = 10_000
    drop_oldest: bool = False


class Submission(Struct, gc=False, kw_only=True):
    """A draft on its way into one inbox.

    `fingerprint` is a digest of the content, compared when the key (or an abandoned question)
    comes again. `asking_since` is set on a question, a message whose sender waits: the time at
    which its wait was opened. `via` is the door it came by, for the count.
    """

    draft: Draft
    message_id: str
    recipient: str
    ttl: float
    broadcast: bool = False
    fingerprint: bytes = b""
    asking_since: float | None = None
    via: str = "unknown"

    @property
    def kind(self) -> str:
        """As what it is counted."""
        return "broadcast" if self.broadcast else "direct"


class Receipt(Struct, gc=False, kw_only=True):
    """The answer to an accepted submission. `replayed`: it had been accepted before.

    `recipient` is its registration, None when nobody registered that id.
    """

    message_id: str
    seq: int
    epoch: str
    expires_at: float
    recipient: Agent | None
    replayed: bool = False

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.seq)


class Page(Struct, kw_only=True):
    """What a look at an inbox shows, oldest first. `total` counts all that match, `ready` all
    that wait to be read.

    `cursor` is the last delivery's; with none, the newest position of the inbox; None for an
    inbox that does not exist. `recovered`: nothing newer than the given cursor is missing.
    """

    deliveries: list[Delivery]
    total: int
    cursor: Cursor | None
    recovered: bool
    ready: int = 0


class Acked(Struct, gc=False):
    """One message settled by an ack, for the first time. `accepted_at` is wall time."""

    message_id: str
    accepted_at: float


class Standing(Struct, kw_only=True):
    """Where a message stands in one inbox.

    `since` is when it came to be so (wall time); of a ready one, when it was accepted.
    """

    recipient: str
    state: State
    since: float
    accepted_at: float
    expires_at: float
    attempts: int


class Undelivered(Struct, gc=False, kw_only=True):
    """A message that ended without an ack: expired, dead or dropped.

    `notify` is False for copies of a broadcast and for the hub's own notices: those are counted,
    their sender is not told.
    """

    message_id: str
    sender: str
    recipient: str
    state: State
    notify: bool


class WaitState(StrEnum):
    """How a question stands: `replied` and `crossed` come with a delivery."""

    PENDING = "pending"
    REPLIED = "replied"
    CROSSED = "crossed"


class Wait(Struct, kw_only=True):
    """A question's wait in the asker's inbox. `since` is the store's wall time.

    With `replied` the delivery is the reply, with `crossed` the other's question. `settled`: it
    has been acked, so that this is the answer given again.
    """

    question_id: str
    since: float
    state: WaitState = WaitState.PENDING
    delivery: Delivery | None = None
    settled: bool = False


class Totals(Struct, kw_only=True):
    """All messages since the store was created, by how they ended; every copy counts.

    At every moment accepted = acked + expired + dead + dropped + ready + leased. `accepted_by`
    are the accepted ones by the door (`Submission.via`; of notices `hub`) and the kind (direct,
    broadcast or notice), `acked_by` the acked ones by mode. `oldest_ready_age` is in seconds, 0
    when nothing is ready.
    """

    accepted: int = 0
    acked: int = 0
    expired: int = 0
    dead: int = 0
    dropped: int = 0
    ready: int = 0
    leased: int = 0
    kept: int = 0
    inboxes: int = 0
    oldest_ready_age: float = 0.0
    accepted_by: dict[tuple[str, str], int] = {}
    acked_by: dict[str, int] = {}


class Backlog(Struct, gc=False, kw_only=True):
    """What one inbox owes. `oldest_at` is when its oldest ready message was accepted (wall time);
    None when none is ready. `bytes` are those that count against `Limits.inbox_bytes`.
    """

    agent_id: str
    ready: int
    leased: int
    bytes: int
    oldest_at: float | None

    @property
    def messages(self) -> int:
        """All that is owed."""
        return self.ready + self.leased


class Watch(Protocol):
    """An open interest in an inbox."""

    def close(self) -> None:
        """No further wake-up; closing twice is fine."""
        ...


class QueueBackend(ABC):
    """Inboxes, the waits on them, and the register of agents.

    The promise that every implementation keeps, whatever fails:

    - What `send` returned a receipt for is **owed**. It is ready, or leased to one lease, until
      it is acked, or expires while ready, or is released as a failure (or its manual lease runs
      out) more than `Limits.failures` times. Only `undelivered` reports the last two.
    - `seq` is dense per inbox and given in the same transition that accepts. First deliveries of
      an inbox are leased in `seq` order; what returns to ready returns to its place.
    - Each call is one transition of one inbox: all of it happened, or none.
    - Each call is idempotent under blind retry: `send` by message id or idempotency key, `lease`
      by a lease id fresh per call, `ack` by message id, the rest by what they name.
    - A refusal (an exception from `core.errors`) changed nothing. BackendUnavailable may be
      raised by every call; a `send` that raised it may have been accepted, and is settled by
      retrying it with the same message id.
    - A wake-up is a hint: it may come too often, and a lost one only delays: where hints can be
      lost, `poll_seconds` says how often a reader looks without one. After the store was away,
      every reader is woken.

    Times in results are wall time of the store; spans in parameters are seconds.
    """

    name: ClassVar[str]
    poll_seconds: ClassVar[float | None] = None

    @property
    @abstractmethod
    def durability(self) -> str:
        """What `accepted` survives: process, disk, redis-aof, redis-rdb or redis-none."""

    def clock_of(self, clock: Clock) -> Clock:
        """By what clock its times are to be read: this node's, where the store has no other."""
        return clock

    async def open(self) -> None:
        """Make ready; called once, before any other call."""
        return

    async def close(self) -> None:
        """Finish what was accepted and let go; nothing is called afterwards."""
        return

    async def ping(self) -> None:
        """Raise BackendUnavailable unless the store can accept now."""
        return

    def buckets(self, rate: float, burst: int, clock: Clock) -> Buckets:
        """A rate limit that is one for all processes on this store: here there is only one."""
        return TokenBuckets(rate, burst, clock)

    # --- mail -----------------------------------------------------------------------------

    @abstractmethod
    async def send(self, submission: Submission) -> Receipt:
        """Accept a message into its recipient's inbox, which is made if there is none.

        The same message id in the same inbox, or the same sender, recipient and idempotency key
        within `Limits.idempotency_seconds`, gives the first receipt again (`replayed`). So does a
        question whose sender, recipient and fingerprint were abandoned (see `close_wait`), unless
        that one has expired or died.

        A message that answers a wait of the recipient is leased to that wait, under the
        question's id, in the same transition: see `open_wait`.

        Raises InboxFull, SenderShare, TooManyInboxes, or IdempotencyMismatch when the key was
        used with another fingerprint.
        """

    @abstractmethod
    async def accepted(self, submission: Submission) -> Receipt | None:
        """The first receipt, if this message id or key was accepted before. Changes nothing.

        Raises IdempotencyMismatch.
        """

    @abstractmethod
    async def claim(self, sender: str, key: str, fingerprint: bytes, message_id: str) -> str:
        """Bind a broadcast's idempotency key to a message id; the first claim wins.

        Returns the id that the key stands for. Raises IdempotencyMismatch.
        """

    @abstractmethod
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
        """Hand up to `limit` ready messages, at most `max_bytes` of content but at least one.

        `seconds` makes a manual lease: when it runs out, each message of it counts a failure.
        With `stream_id` the lease lives as long as that stream has its place (see `occupy`); a
        stream without its place gets nothing. With neither, it is for a call that writes what it
        took at once: it runs out after `Limits.taking_seconds`, without a failure.
        The same lease again shows what it still holds; a `limit` of 0 only that.
        An unknown inbox gives nothing and is not made.
        """

    @abstractmethod
    async def ack(
        self, agent_id: str, message_ids: Sequence[str], *, mode: str = "manual"
    ) -> list[Acked]:
        """Settle messages, whoever holds them now; unknown and settled ids are passed over.

        `mode` says how they are counted: manual, or auto when the hub acks for the reader.
        """

    @abstractmethod
    async def release(
        self,
        agent_id: str,
        lease_id: str,
        message_ids: Sequence[str] | None,
        *,
        failure: bool,
    ) -> int:
        """Give back what this lease holds of these (None: all it holds).

        A failure may make a message dead. Returns how many this lease held.
        """

    @abstractmethod
    async def extend(
        self, agent_id: str, lease_id: str, message_ids: Sequence[str], *, seconds: float
    ) -> int:
        """Let what this lease holds of these run out `seconds` from now. Returns how many."""

    @abstractmethod
    async def look(self, agent_id: str, since: Cursor | None, limit: int) -> Page:
        """Show ready and leased messages, and with `since` also kept ones newer than it.

        A page may end before `limit` where LOOKED_AT_BYTES of content are shown.
        """

    @abstractmethod
    async def kept(self, agent_id: str, since: Cursor, limit: int) -> Page:
        """Show the acked messages newer than `since` that are still kept, oldest first."""

    @abstractmethod
    async def standings(self, agent_id: str, message_id: str) -> list[Standing]:
        """Where a message stands: to its sender in every inbox, to a recipient in its own.

        Empty when this agent neither sent nor got it, or it is forgotten.
        """

    # --- waits ----------------------------------------------------------------------------

    @abstractmethod
    async def open_wait(
        self, agent_id: str, question_id: str, asked: str, *, seconds: float
    ) -> Wait:
        """Reserve the reply to a question, before the question is sent.

        From now on a message into this inbox answers the wait when it comes from `asked` and
        (1) its `reply_to` is the question; or (2) it has no `reply_to` and is no question, the
        oldest wait first: `replied`; or (3) it is a question whose own wait was opened after this
        one: `crossed`. It is then leased under `question_id`, and no other reader can lease it.

        Opening an open wait again, or one that has its answer, returns it as it stands; opening a
        closed one takes a reply that came meanwhile and is still ready, or shows as settled one
        that was acked and is still kept. `seconds` bounds the wait
        should its holder vanish. Raises TooManyWaits.
        """

    @abstractmethod
    async def wait(self, agent_id: str, question_id: str) -> Wait | None:
        """The wait as it stands; None when there is none."""

    @abstractmethod
    async def close_wait(
        self,
        agent_id: str,
        question_id: str,
        *,
        keep: bool = False,
        abandoned: Submission | None = None,
    ) -> None:
        """End a wait: an answer that nobody acked becomes an ordinary ready message.

        With `keep` an acked reply is given again by `open_wait` for
        `Limits.idempotency_seconds`.
        `abandoned` is the question when its asker went away without an answer: the same question
        sent again within `Limits.abandoned_wait_seconds` attaches to it.
        """

    # --- what ended without an ack --------------------------------------------------------

    @abstractmethod
    async def undelivered(self, limit: int) -> list[Undelivered]:
        """The oldest endings that nobody has taken note of yet."""

    @abstractmethod
    async def notice(self, ended: Undelivered) -> bool:
        """Put one ending into its sender's pending notice; the same ending counts once.

        True when that made a new message.
        """

    @abstractmethod
    async def noted(self, ended: Sequence[Undelivered]) -> None:
        """Forget these endings: they are counted, and noticed where that is due."""

    @abstractmethod
    async def sweep(self) -> None:
        """Do what has come due: expiry, leases run out, inboxes and records to be forgotten."""

    @abstractmethod
    async def totals(self) -> Totals:
        """Count everything."""

    @abstractmethod
    async def backlogs(self) -> list[Backlog]:
        """What each inbox that owes something owes, in any order.

        One inbox is counted at one moment, another at another; as in `totals`, what has come due
        since the last sweep is not done first. However many inboxes there are, no call of others
        waits long for it.
        """

    async def tells_totals(self) -> bool:
        """Whether this process shows the store's totals among its metrics.

        The sum over all processes must hold, so of all that share a store one tells at a time;
        those behind one port answer alike.
        """
        return True

    # --- streams --------------------------------------------------------------------------

    @abstractmethod
    async def occupy(self, agent_id: str, stream_id: str, replaced: Callable[[], None]) -> None:
        """Become the one stream of this agent, over all processes.

        Whoever was it before is told by `replaced`, soon, and what it held is ready again in its
        place, without a failure. A stream keeps its place until it is replaced or vacates it, or
        its process is gone: then nobody renews it.
        """

    @abstractmethod
    async def renew(self, agent_id: str, stream_id: str) -> bool:
        """Keep the place. False when another stream has it.

        To be called every RENEW_SECONDS. A store of several processes gives a place up that was
        not renewed for OCCUPANCY_SECONDS: as long as it is empty then, its stream takes it again.
        """

    @abstractmethod
    async def vacate(self, agent_id: str, stream_id: str) -> None:
        """Leave the place: what this stream still holds is ready again, without a failure.

        Without the place, nothing happens.
        """

    # --- wake-ups -------------------------------------------------------------------------

    @abstractmethod
    def watch(
        self, agent_id: str, wake: Callable[[], None], *, question_id: str | None = None
    ) -> Watch:
        """Call `wake`, soon and without arguments, when this inbox may have something to lease.

        With `question_id`, when that wait may have its answer instead.
        """

    # --- agents ---------------------------------------------------------------------------

    @abstractmethod
    async def put_agent(self, agent: Agent) -> bool:
        """Register, or replace a registration (its `registered_at` stays). True when new.

        The store sets `last_seen` and `registered_at`. Raises AgentTaken when another owner
        registered it; without an owner given, the one there is stays. Raises TooManyInboxes for
        a new agent when `Limits.agents` are registered, or `Limits.agents_per_owner` of its owner.
        """

    @abstractmethod
    async def touch_agent(self, agent_id: str, status: Status | None = None) -> Agent | None:
        """A sign of life, with a new status if given. None for an unknown agent."""

    @abstractmethod
    async def remove_agent(self, agent_id: str) -> bool:
        """End a registration; its mail stays until it expires."""

    @abstractmethod
    async def agent(self, agent_id: str) -> Agent | None: ...

    @abstractmethod
    async def agents(self) -> list[Agent]:
        """All registrations, oldest first."""

    async def some_agents(self, limit: int, max_bytes: int) -> list[Agent]:
        """So many registrations, or a few more: all of them, oldest first, where there are no
        more; else any, about as many as say `max_bytes` of themselves.
        """
        return (await self.agents())[:limit]

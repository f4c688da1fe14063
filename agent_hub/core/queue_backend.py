"""What a store of queues must do: the interface between the rules and the stores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from agent_hub.core.agent import Agent, Status
from agent_hub.core.clock import Clock
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
from agent_hub.core.rate_limit import Buckets, TokenBuckets

RENEW_SECONDS = 10.0
"""How often an open stream renews its place."""
OCCUPANCY_SECONDS = 30.0
"""How long a place stands that nobody renews."""


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
        a new agent when `Limits.agents` are registered, and for one that is new to its owner, or
        was nobody's, when that has `Limits.agents_per_owner`.
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

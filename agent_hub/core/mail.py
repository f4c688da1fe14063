"""What passes between the rules and a store: what goes into an inbox, and what is said of it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from agent_hub.core.agent import Agent
from agent_hub.core.message import Cursor, Delivery, Draft


class State(StrEnum):
    """Where one message stands in one inbox; the same words at every door."""

    READY = "ready"
    LEASED = "leased"
    ACKED = "acked"
    EXPIRED = "expired"
    DEAD = "dead"
    DROPPED = "dropped"


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

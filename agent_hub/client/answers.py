"""What the hub answers, typed. Fields a newer hub adds are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from agent_hub.client.errors import HubError

T = TypeVar("T")


class Message(Struct, frozen=True, kw_only=True):
    """A message as its recipient reads it.

    A string that was sent arrives as `text`, an object as `payload`. `attempt` above 1 marks a
    possible duplicate; `cursor` is the place of this message, to resume behind it. `state` is
    known only where a message is looked at: `ready`, `leased` or `acked`.
    """

    id: str
    sender: str = field(name="from")
    to: str
    type: str
    seq: int
    cursor: str
    timestamp: datetime
    expires_at: datetime
    text: str = ""
    payload: dict[str, Any] = {}
    reply_to: str | None = None
    attempt: int = 1
    broadcast: bool = False
    traceparent: str | None = None
    state: str | None = None


class Agent(Struct, frozen=True, kw_only=True):
    """A registered agent; `status` is `active`, `idle`, `busy` or `offline`."""

    agent_id: str
    status: str
    session_id: str | None = None
    name: str | None = None
    capabilities: tuple[str, ...] = ()
    last_heartbeat: datetime | None = None
    registered_at: datetime | None = None
    metadata: dict[str, Any] = {}


class Registration(Struct, frozen=True, kw_only=True):
    """Who else is here, and how often (seconds) the hub wants a sign of life."""

    agent_id: str
    websocket_url: str
    heartbeat_seconds: float
    peers: tuple[Agent, ...] = ()


class Recipient(Struct, frozen=True, kw_only=True):
    """Whom a message was accepted for; `did_you_mean` when nobody registered under that id."""

    agent_id: str
    known: bool
    status: str | None = None
    last_seen: datetime | None = None
    did_you_mean: tuple[str, ...] = ()


class Rejected(Struct, frozen=True, kw_only=True):
    """An agent whose copy of a broadcast was refused, and the problem code that says why."""

    agent_id: str
    code: str


class Accepted(Struct, frozen=True, kw_only=True):
    """A send that the hub owes to its recipient now.

    To one agent: `seq`, `epoch`, `expires_at` and `recipient` are set. To `ALL`:
    `accepted_count`, `accepted` (up to 1,000 ids) and `rejected`. `replayed`: the hub knew this
    idempotency key and gave its first answer again.
    """

    message_id: str
    durability: str | None = None
    seq: int | None = None
    epoch: str | None = None
    expires_at: datetime | None = None
    recipient: Recipient | None = None
    accepted_count: int | None = None
    accepted: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    replayed: bool = False


class Asked(Struct, frozen=True, kw_only=True):
    """The wire's shape of an Answer."""

    message_id: str
    status: Literal["replied", "pending", "crossed"] = "pending"
    reply: Message | None = None
    cursor: str | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """How a question ended; true when it was answered.

    `replied`: `reply` is the answer. `pending`: none in time; one that comes later is an ordinary
    message whose `reply_to` is `message_id`. `crossed`: the agent asked us meanwhile, and
    `question` is what it waits for; answer it, then ask again or listen for the reply.
    """

    status: Literal["replied", "pending", "crossed"]
    message_id: str
    reply: Message | None = None
    question: Message | None = None
    cursor: str | None = None

    def __bool__(self) -> bool:
        return self.reply is not None

    @property
    def text(self) -> str:
        """The reply's text; empty while there is none."""
        return self.reply.text if self.reply else ""

    @property
    def payload(self) -> dict[str, Any]:
        """The reply's payload; empty while there is none."""
        return self.reply.payload if self.reply else {}

    @classmethod
    def of(cls, asked: Asked) -> Answer:
        crossed = asked.status == "crossed"
        return cls(
            status=asked.status,
            message_id=asked.message_id,
            reply=None if crossed else asked.reply,
            question=asked.reply if crossed else None,
            cursor=asked.cursor,
        )


class Page(Struct, frozen=True, kw_only=True):
    """Messages looked at, oldest first; `total` is how many there are beyond this page too.

    `recovered` is false when something newer than the `since` that was asked for is gone.
    """

    messages: tuple[Message, ...]
    total: int
    cursor: str | None = None
    recovered: bool | None = None


class Agents(Struct, frozen=True):
    agents: tuple[Agent, ...]


class Batch(Struct, frozen=True, kw_only=True):
    messages: tuple[Message, ...]
    lease_id: str | None = None
    cursor: str | None = None


class Standing(Struct, frozen=True, kw_only=True):
    """Where a message stands with one recipient, and since when.

    `state` is ready, leased, acked, expired, dead or dropped; `attempts` counts its hand-overs.
    """

    agent_id: str
    state: str
    since: datetime
    accepted_at: datetime
    expires_at: datetime
    attempts: int


class Standings(Struct, frozen=True):
    recipients: tuple[Standing, ...]


class Control(Struct, frozen=True):
    """A frame of the hub's own, whatever its type: the fields that a client acts on."""

    type: str
    heartbeat_seconds: float = 30.0
    recovered: bool = True
    reconnect_after_ms: float | None = None
    problem: dict[str, Any] = {}


def decode(body: bytes | str, shape: type[T]) -> T:
    """`body` as `shape`; HubError `unexpected_answer` for what no hub would say."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise HubError("unexpected_answer", detail=str(error)) from error


def convert(frame: dict[str, Any], shape: type[T]) -> T:
    """`frame` as `shape`, as `decode` does."""
    try:
        return msgspec.convert(frame, shape)
    except msgspec.ValidationError as error:
        raise HubError("unexpected_answer", detail=str(error)) from error

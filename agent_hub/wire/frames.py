"""WebSocket frames: what a client may send, and the hub's own frames beside messages."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from agent_hub.core.agent import Status
from agent_hub.core.bounds import HEARTBEAT_SECONDS
from agent_hub.core.errors import Invalid
from agent_hub.core.mail import Wait
from agent_hub.core.message import HUB, Cursor, Draft
from agent_hub.core.presence import PresenceEvent
from agent_hub.core.subscription import Subscription
from agent_hub.wire.messages import (
    BroadcastAnswer,
    MessageView,
    SendBody,
    SentAnswer,
    TextOrObject,
    draft_of,
    view,
)
from agent_hub.wire.problems import Problem

MAX_NEWS = 500


class ClientFrame(Struct, forbid_unknown_fields=True, kw_only=True):
    """Any frame of a client. What it means hangs on `type`; a type of one's own, or none, is a
    draft.

    `from`, `id` and `timestamp` are taken because older clients send them: `from` must then be
    the agent of the socket, the other two are the hub's to give and are ignored.
    """

    type: str | None = None
    ref: Raw | UnsetType = UNSET
    # heartbeat
    status: str | None = None
    # auth
    token: str | UnsetType = UNSET
    # hub.ack, hub.release
    ids: list[str] = []
    # a draft
    to: str | UnsetType = UNSET
    message: TextOrObject | UnsetType = UNSET
    text: str | UnsetType = UNSET
    payload: Raw | UnsetType = UNSET
    reply_to: str | None = None
    ttl: float | None = None
    wait: float | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None
    # the hub's to give
    sender: str | UnsetType = msgspec.field(name="from", default=UNSET)
    id: Raw | UnsetType = UNSET
    timestamp: Raw | UnsetType = UNSET

    def draft(self, agent_id: str) -> Draft:
        """The draft that this frame is. Raises Invalid."""
        if self.to is UNSET:
            raise Invalid.at(
                "/to", "needed in a message; control frames are heartbeat, hub.ack and hub.release"
            )
        if self.sender is not UNSET and self.sender != agent_id:
            raise Invalid.at("/from", f"this socket speaks as {agent_id}")
        body = SendBody(
            sender=agent_id,
            to=self.to,
            message=self.message,
            text=self.text,
            payload=self.payload,
            type=self.type,
            reply_to=self.reply_to,
            ttl=self.ttl,
        )
        return draft_of(body, idempotency_key=self.idempotency_key, traceparent=self.traceparent)


class CredentialFrame(Struct, forbid_unknown_fields=True, tag="auth", tag_field="type"):
    """The first frame of a client that cannot set a header."""

    token: str


class Welcome(Struct, kw_only=True, tag="hub.welcome", tag_field="type"):
    """The hub's first frame. `cursor` is the position from which the stream goes on."""

    sender: str = msgspec.field(name="from", default=HUB)
    agent_id: str
    cursor: str | None
    recovered: bool
    heartbeat_seconds: int = int(HEARTBEAT_SECONDS)
    durability: str


class AcceptedFrame(SentAnswer, kw_only=True, tag="hub.accepted", tag_field="type"):
    """A draft of this socket was accepted; `ref` is the client's own.

    `replayed` is there (and true) when the same was accepted before under its idempotency key.
    """

    sender: str = msgspec.field(name="from", default=HUB)
    ref: Raw | None = None
    replayed: bool | UnsetType = UNSET


class BroadcastFrame(BroadcastAnswer, kw_only=True, tag="hub.accepted", tag_field="type"):
    """A draft of this socket to ALL was accepted."""

    sender: str = msgspec.field(name="from", default=HUB)
    ref: Raw | None = None
    replayed: bool | UnsetType = UNSET


class ReplyFrame(Struct, kw_only=True, tag="hub.reply", tag_field="type"):
    """What became of a question of this socket: replied, pending or crossed."""

    sender: str = msgspec.field(name="from", default=HUB)
    ref: Raw | None
    message_id: str
    status: str
    reply: MessageView | None
    cursor: str | None


class ErrorFrame(Struct, kw_only=True, tag="hub.error", tag_field="type"):
    """A frame of this socket was refused. `headers` are those that REST would have sent."""

    sender: str = msgspec.field(name="from", default=HUB)
    ref: Raw | None
    problem: Problem
    headers: dict[str, str] | UnsetType = UNSET


class NoticeFrame(Struct, kw_only=True, tag="hub.notice", tag_field="type"):
    """The hub says something about itself; on shutdown, when to come back (milliseconds)."""

    sender: str = msgspec.field(name="from", default=HUB)
    text: str
    reconnect_after_ms: int


class AgentNews(Struct):
    """An agent in a presence frame: no more than fits into one frame many times over."""

    agent_id: str
    session_id: str | None
    name: str | None
    status: Status


class PresenceFrame(Struct, kw_only=True):
    """Who came, went, or changed its status: `total` agents, MAX_NEWS of them by name."""

    type: str
    sender: str = msgspec.field(name="from", default=HUB)
    agents: list[AgentNews]
    total: int


def welcome(subscription: Subscription, durability: str) -> Welcome:
    cursor = subscription.cursor
    return Welcome(
        agent_id=subscription.agent_id,
        cursor=None if cursor is None else str(cursor),
        recovered=subscription.recovered,
        durability=durability,
    )


def accepted(
    answer: SentAnswer | BroadcastAnswer, ref: Raw | UnsetType, *, replayed: bool
) -> bytes:
    """The frame that answers a draft."""
    frame = AcceptedFrame if isinstance(answer, SentAnswer) else BroadcastFrame
    fields = msgspec.structs.asdict(answer)
    return encode(frame(**fields, ref=_given(ref), replayed=replayed or UNSET))


def reply(question_id: str, wait: Wait, cursor: Cursor | None, ref: Raw | UnsetType) -> bytes:
    """The frame that ends a question of this socket."""
    return encode(
        ReplyFrame(
            ref=_given(ref),
            message_id=question_id,
            status=wait.state.value,
            reply=None if wait.delivery is None else view(wait.delivery),
            cursor=None if cursor is None else str(cursor),
        )
    )


def refusal(told: Problem, ref: Raw | UnsetType, headers: dict[str, str]) -> bytes:
    return encode(ErrorFrame(ref=_given(ref), problem=told, headers=headers or UNSET))


def shutdown_notice(reconnect_after_ms: int) -> bytes:
    return encode(
        NoticeFrame(text="the hub is shutting down", reconnect_after_ms=reconnect_after_ms)
    )


def presence(event: PresenceEvent) -> bytes:
    news = [
        AgentNews(agent.agent_id, agent.session_id, agent.name, status)
        for agent, status in event.agents[:MAX_NEWS]
    ]
    return encode(PresenceFrame(type=event.kind, agents=news, total=len(event.agents)))


def _given(ref: Raw | UnsetType) -> Raw | None:
    return None if ref is UNSET else ref


class _Referring(Struct):
    ref: Raw | UnsetType = UNSET


def ref_of(text: bytes) -> Raw | UnsetType:
    """The `ref` of what is JSON but not a frame, so that its sender knows what was refused."""
    try:
        return _decode_referring(text).ref
    except msgspec.DecodeError:
        return UNSET


_decode_referring = msgspec.json.Decoder(_Referring).decode
decode_frame = msgspec.json.Decoder(ClientFrame)
decode_credential = msgspec.json.Decoder(CredentialFrame)
NO_REF = UNSET
encode = msgspec.json.Encoder().encode

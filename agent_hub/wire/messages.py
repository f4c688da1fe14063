"""Messages in JSON: drafts in, deliveries and receipts out."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from agent_hub.core.agent import Status
from agent_hub.core.bounds import MAX_ASK_SECONDS, MIN_TTL_SECONDS
from agent_hub.core.errors import Invalid
from agent_hub.core.mail import Standing, State, Wait, WaitState
from agent_hub.core.message import (
    AGENT_ID_PATTERN,
    ALL,
    EMPTY_PAYLOAD,
    MAX_TTL_SECONDS,
    RESERVED_IDS,
    RESERVED_TYPES,
    TYPE_PATTERN,
    Cursor,
    Delivery,
    Draft,
    is_sendable_type,
)
from agent_hub.core.sending import Broadcast, Sent
from agent_hub.wire.agents import AgentId, AgentStatus, JsonObject, json_object
from agent_hub.wire.times import Time, rfc3339

MAX_LISTED = 1_000

Recipient = Annotated[
    str,
    Meta(
        description=f"an agent id, or {ALL} for every registered agent but the sender",
        extra_json_schema={
            "pattern": AGENT_ID_PATTERN,
            "not": {"enum": sorted(RESERVED_IDS - {ALL})},
        },
        examples=["alpha-01RXGe86"],
    ),
]
MessageId = Annotated[str, Meta(extra_json_schema={"format": "message-id"})]
MessageType = Annotated[
    str,
    Meta(
        description="`hub.*` and `agent.*` are the hub's own",
        extra_json_schema={
            "pattern": TYPE_PATTERN,
            "not": {"pattern": "|".join(f"^{re.escape(opening)}" for opening in RESERVED_TYPES)},
        },
        examples=["request"],
    ),
]
TextOrObject = Annotated[
    Raw,
    Meta(
        description="a string is the text; an object is the payload, and may name its `type`",
        extra_json_schema={"type": ["string", "object"]},
    ),
]
Ttl = Annotated[
    float,
    Meta(
        description="seconds until the message expires unread",
        extra_json_schema={"minimum": MIN_TTL_SECONDS, "maximum": MAX_TTL_SECONDS},
    ),
]
AskSeconds = Annotated[
    float,
    Meta(
        description="makes it a question: seconds to wait for the reply",
        extra_json_schema={"minimum": 0, "maximum": MAX_ASK_SECONDS},
    ),
]
WaitStatus = Annotated[str, Meta(extra_json_schema={"enum": [*WaitState]})]
CursorText = Annotated[
    str,
    Meta(
        description="a position in an inbox, opaque",
        extra_json_schema={"format": "cursor", "minLength": 1},
    ),
]


class SendBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """A draft: `message` alone, or `text` and `payload`; without content it needs a `type`."""

    sender: AgentId = msgspec.field(name="from")
    to: Recipient
    message: TextOrObject | UnsetType = UNSET
    text: str | UnsetType = UNSET
    payload: JsonObject | UnsetType = UNSET
    type: MessageType | None = None
    reply_to: MessageId | None = None
    ttl: Ttl | None = None
    wait: AskSeconds | None = None


DraftBody = Annotated[
    SendBody,
    Meta(
        extra_json_schema={
            "anyOf": [
                *({"required": [name]} for name in ("message", "text", "payload")),
                {"required": ["type"], "properties": {"type": {"type": "string"}}},
            ],
            "not": {
                "anyOf": [{"required": ["message", name]} for name in ("text", "payload")],
            },
        }
    ),
]


class _Typed(Struct):
    type: Raw | UnsetType = UNSET


_decode_string = msgspec.json.Decoder(str).decode
_decode_typed = msgspec.json.Decoder(_Typed).decode


def draft_of(
    body: SendBody, *, idempotency_key: str | None = None, traceparent: str | None = None
) -> Draft:
    """What the sender wrote, with the `message` shorthand resolved. Raises Invalid."""
    text, payload, kind = _content(body)
    return Draft(
        sender=body.sender,
        to=body.to,
        type=kind,
        text=text,
        payload=payload,
        reply_to=body.reply_to,
        ttl=body.ttl,
        idempotency_key=idempotency_key,
        traceparent=traceparent,
    )


def _content(body: SendBody) -> tuple[str, bytes, str]:
    """Text, payload and type."""
    if body.message is not UNSET:
        return _from_message(body, body.message)
    if body.text is UNSET and body.payload is UNSET and body.type is None:
        raise Invalid.at("/message", "nothing to send: give message, text, payload or type")
    text = "" if body.text is UNSET else body.text
    payload = EMPTY_PAYLOAD
    if body.payload is not UNSET:
        payload = json_object(body.payload, "/payload")
    return text, payload, "message" if body.type is None else body.type


def _from_message(body: SendBody, message: Raw) -> tuple[str, bytes, str]:
    if body.text is not UNSET or body.payload is not UNSET:
        raise Invalid.at("/message", "give either message, or text and payload")
    raw = bytes(message)
    if raw.startswith(b'"'):
        return _decode_string(raw), EMPTY_PAYLOAD, "message" if body.type is None else body.type
    if not raw.startswith(b"{"):
        raise Invalid.at("/message", "expected a string or an object")
    payload = json_object(message, "/message")
    if body.type is not None:
        return "", payload, body.type
    return "", payload, _type_inside(payload) or "message"


def _type_inside(payload: bytes) -> str | None:
    """The type that an object names for itself, if it can be one."""
    named = _decode_typed(payload).type
    if named is UNSET or not bytes(named).startswith(b'"'):
        return None
    kind = _decode_string(bytes(named))
    return kind if is_sendable_type(kind) else None


class MessageView(Struct, gc=False):
    """A message as every door shows it."""

    id: MessageId
    seq: int
    sender: str = msgspec.field(name="from")
    to: str
    type: str
    text: str
    payload: JsonObject
    reply_to: MessageId | None
    timestamp: Time
    expires_at: Time
    attempt: Annotated[int, Meta(description="above 1 it may be a duplicate")]
    cursor: CursorText
    traceparent: str | UnsetType = UNSET
    broadcast: bool | UnsetType = UNSET


class MessageWithState(MessageView, gc=False, kw_only=True):
    """A message that was only looked at."""

    state: Annotated[
        str, Meta(extra_json_schema={"enum": [State.READY, State.LEASED, State.ACKED]})
    ]


def view(delivery: Delivery) -> MessageView:
    message = delivery.message
    accepted_at = message.accepted_at
    return MessageView(
        message.id,
        message.seq,
        message.sender,
        message.to,
        message.type,
        message.text,
        Raw(message.payload),
        message.reply_to,
        rfc3339(accepted_at),
        rfc3339(accepted_at + message.ttl),
        delivery.attempt,
        f"{delivery.epoch}:{message.seq}",
        message.traceparent or UNSET,
        message.broadcast or UNSET,
    )


def view_with_state(delivery: Delivery) -> MessageWithState:
    fields = msgspec.structs.asdict(view(delivery))
    return MessageWithState(**fields, state=delivery.state)


_encode = msgspec.json.Encoder().encode


def encode_delivery(delivery: Delivery) -> bytes:
    """One message as a JSON object: what a WebSocket frame holds."""
    return _encode(view(delivery))


class RecipientView(Struct):
    """`known` is False when nobody registered that id; then `did_you_mean` names similar ones."""

    agent_id: str
    status: AgentStatus
    last_seen: Time | None
    known: bool
    did_you_mean: list[str] | UnsetType = UNSET


class SentAnswer(Struct):
    """Accepted: the message is owed to its recipient from now on.

    `status`, `reply` and `cursor` stand in the answer to a question.
    """

    success: bool
    message_id: MessageId
    seq: int
    epoch: str
    expires_at: Time
    durability: str
    recipient: RecipientView
    status: WaitStatus | UnsetType = UNSET
    reply: MessageView | UnsetType | None = UNSET
    cursor: CursorText | UnsetType | None = UNSET


class RejectedView(Struct):
    """A recipient whose inbox did not take its copy, and the problem code."""

    agent_id: str
    code: str


class BroadcastAnswer(Struct):
    """One message id for all copies; `accepted` names at most 1,000 of `accepted_count`."""

    success: bool
    message_id: MessageId
    expires_at: Time
    durability: str
    accepted_count: int
    accepted: list[str]
    rejected: list[RejectedView]


def sent_answer(sent: Sent, to: str, durability: str) -> SentAnswer:
    receipt = sent.receipt
    return SentAnswer(
        True,
        receipt.message_id,
        receipt.seq,
        receipt.epoch,
        rfc3339(receipt.expires_at),
        durability,
        _recipient(sent, to),
    )


def _recipient(sent: Sent, to: str) -> RecipientView:
    agent = sent.receipt.recipient
    if agent is None or sent.status is None:
        return RecipientView(to, Status.OFFLINE, None, False, sent.similar or UNSET)
    return RecipientView(to, sent.status, rfc3339(agent.last_seen), True)


def answered(answer: SentAnswer, wait: Wait, cursor: Cursor | None) -> SentAnswer:
    """The same answer with what became of the question."""
    answer.status = wait.state.value
    answer.reply = None if wait.delivery is None else view(wait.delivery)
    answer.cursor = None if cursor is None else str(cursor)
    return answer


def broadcast_answer(broadcast: Broadcast, durability: str) -> BroadcastAnswer:
    return BroadcastAnswer(
        True,
        broadcast.message_id,
        rfc3339(broadcast.expires_at),
        durability,
        broadcast.accepted_count,
        broadcast.accepted[:MAX_LISTED],
        [RejectedView(agent_id, code) for agent_id, code in broadcast.rejected],
    )


def answer_of(sent: Sent | Broadcast, to: str, durability: str) -> SentAnswer | BroadcastAnswer:
    """The answer to an accepted draft, to one or to all."""
    if isinstance(sent, Sent):
        return sent_answer(sent, to, durability)
    return broadcast_answer(sent, durability)


class StandingView(Struct):
    """Where the message stands in one inbox; `since` is when it came to be so."""

    agent_id: str
    state: Annotated[str, Meta(extra_json_schema={"enum": [*State]})]
    since: Time
    accepted_at: Time
    expires_at: Time
    attempts: int


class StandingsAnswer(Struct):
    """One message, by recipient: to its sender all of them, to a recipient its own."""

    message_id: MessageId
    recipients: list[StandingView]


def standings_answer(message_id: str, standings: list[Standing]) -> StandingsAnswer:
    return StandingsAnswer(message_id, [_standing(standing) for standing in standings])


def _standing(standing: Standing) -> StandingView:
    return StandingView(
        standing.recipient,
        standing.state,
        rfc3339(standing.since),
        rfc3339(standing.accepted_at),
        rfc3339(standing.expires_at),
        standing.attempts,
    )


decode_send = msgspec.json.Decoder(SendBody)

"""What stands in Redis and what scripts answer, as the types of the hub and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent_hub.core.agent import Agent, Status
from agent_hub.core.mail import (
    Acked,
    Page,
    Standing,
    State,
    Submission,
    Undelivered,
    Wait,
    WaitState,
)
from agent_hub.core.message import Cursor, Delivery, Draft, Message
from agent_hub.core.notice import Notice

ENCODER = msgspec.msgpack.Encoder()


class Record(Struct, array_like=True, gc=False):
    """What changes of a message, as `mail.lua` writes it. Empty strings are for nothing."""

    seq: int
    sender: str
    size: int
    accepted_at: float
    ttl: float
    reply_to: str
    broadcast: int
    attempts: int
    failures: int
    state: str
    since: float
    lease_id: str
    fault: int
    stream_id: str


class News(Struct, array_like=True):
    """What a transition leaves to be done in other slots.

    `due` is when the sweeper has to come, -1 for as before; `gone` names what is forgotten:
    sender, id, and whether it was a broadcast's copy.
    """

    due: float
    ended: bool
    gone: list[tuple[str, str, bool]]


class Ending(Struct, array_like=True):
    """A message that ended without an ack. `order` counts within its inbox."""

    sender: str
    state: State
    notify: bool
    at: float
    order: int


class Registration(Struct, array_like=True):
    """An agent as the register has it; `rest` is its JSON."""

    number: int
    registered_at: float
    last_seen: float
    status: str
    owner: str
    rest: str


class Pending(Struct, array_like=True):
    """The notice that grows until it is read, and the message that carries it."""

    message_id: str
    notice: Notice


_records = msgspec.msgpack.Decoder(Record)
_messages = msgspec.msgpack.Decoder(Message)
_news = msgspec.msgpack.Decoder(News)
_endings = msgspec.msgpack.Decoder(Ending)
_registrations = msgspec.msgpack.Decoder(Registration)
_agents = msgspec.json.Decoder(Agent)
_pending = msgspec.msgpack.Decoder(Pending)
_counts = msgspec.msgpack.Decoder(dict[str, int])

decode_news = _news.decode
decode_pending = _pending.decode
decode_counts = _counts.decode


def body_of(submission: Submission) -> bytes:
    """The content and all that never changes; seq and time stand in the record."""
    draft: Draft = submission.draft
    return ENCODER.encode(
        Message(
            submission.message_id,
            0,
            draft.sender,
            submission.recipient,
            draft.type,
            draft.text,
            draft.payload,
            draft.reply_to,
            draft.traceparent,
            submission.broadcast,
            0.0,
            submission.ttl,
        )
    )


def message_of(record: Record, body: bytes) -> Message:
    message = _messages.decode(body)
    message.seq, message.accepted_at = record.seq, record.accepted_at
    return message


def deliveries_of(answers: Sequence[bytes], epoch: str, state: str | None = None) -> list[Delivery]:
    """From records and contents by turns. `state` is what all of them are shown as."""
    deliveries = []
    for place in range(0, len(answers), 2):
        record = _records.decode(answers[place])
        message = message_of(record, answers[place + 1])
        deliveries.append(
            Delivery(message, epoch, record.attempts, state or shown_state(record.state))
        )
    return deliveries


def shown_state(state: str) -> str:
    return State.ACKED if state == "kept" else state


def page_of(answers: Sequence[Any], since: Cursor | None) -> Page:
    epoch, seq, total, ready, recovered = answers[:5]
    epoch = epoch.decode()
    deliveries = deliveries_of(answers[5:], epoch)
    return Page(
        deliveries=deliveries,
        total=total,
        cursor=deliveries[-1].cursor if deliveries else Cursor(epoch, seq),
        recovered=since is not None and bool(recovered),
        ready=ready,
    )


def acked_of(answers: Sequence[bytes]) -> list[Acked]:
    return [
        Acked(answers[place].decode(), float(answers[place + 1]))
        for place in range(0, len(answers), 2)
    ]


def standing_of(recipient: str, packed: bytes, agent_id: str) -> Standing | None:
    """As this agent may see it: its sender or its recipient."""
    record = _records.decode(packed)
    if agent_id not in (record.sender, recipient):
        return None
    return Standing(
        recipient=recipient,
        state=State(shown_state(record.state)),
        since=record.since,
        accepted_at=record.accepted_at,
        expires_at=record.accepted_at + record.ttl,
        attempts=record.attempts,
    )


def wait_of(question_id: str, answers: Sequence[Any]) -> Wait:
    epoch, state, since, settled, record, body = answers
    deliveries = deliveries_of((record, body), epoch.decode()) if body else []
    return Wait(
        question_id=question_id,
        since=float(since),
        state=WaitState(state.decode()),
        delivery=deliveries[0] if deliveries else None,
        settled=bool(settled),
    )


def ending_of(packed: bytes, message_id: str, recipient: str) -> tuple[float, int, Undelivered]:
    """When it ended, its number, and what it was."""
    ending = _endings.decode(packed)
    undelivered = Undelivered(
        message_id=message_id,
        sender=ending.sender,
        recipient=recipient,
        state=ending.state,
        notify=ending.notify,
    )
    return ending.at, ending.order, undelivered


def rest_of(agent: Agent) -> bytes:
    return msgspec.json.encode(agent)


@lru_cache(maxsize=4_096)
def numbered_agent(packed: bytes) -> tuple[int, Agent]:
    registration = _registrations.decode(packed)
    agent = replace(
        _agents.decode(registration.rest),
        status=Status(registration.status),
        last_seen=registration.last_seen,
        registered_at=registration.registered_at,
        owner=registration.owner or None,
    )
    return registration.number, agent


def agent_of(packed: bytes | None) -> Agent | None:
    return None if packed is None else numbered_agent(packed)[1]

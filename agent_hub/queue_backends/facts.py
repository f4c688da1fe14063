"""What happened, one struct for each transition: what a store must write down to know it again.

A fact says what came of a call, not the call: reading it again decides nothing anew. Leases are
not among them, because whoever held one is gone when the facts are read.
"""

from __future__ import annotations

from msgspec import Struct

from agent_hub.core.agent import Agent
from agent_hub.core.mail import State, Undelivered, Wait
from agent_hub.core.message import Message
from agent_hub.queue_backends.states import Kept, Past, Settled

UNKNOWN = "unknown"
"""How a message is counted that was written down before this was."""


class InboxMade(Struct, tag="inbox", array_like=True, gc=False):
    """An inbox began its life."""

    agent_id: str
    epoch: str


class InboxGone(Struct, tag="gone", array_like=True, gc=False):
    agent_id: str


class Accepted(Struct, tag="in", array_like=True, gc=False):
    """A message came into the inbox of `message.to`.

    `key` is its idempotency key. `asking`: its sender waits for the reply. `via` and `kind` say
    how it is counted.
    """

    message: Message
    key: str | None
    fingerprint: bytes
    asking: bool
    via: str = UNKNOWN
    kind: str = UNKNOWN


class Acked(Struct, tag="ack", array_like=True, gc=False):
    agent_id: str
    message_id: str
    attempt: int
    at: float


class Ended(Struct, tag="end", array_like=True, gc=False):
    """A message ended without an ack."""

    agent_id: str
    message_id: str
    state: State
    attempts: int
    at: float


class Failed(Struct, tag="fail", array_like=True, gc=False):
    """A message was given back as a failure, and is ready again."""

    agent_id: str
    message_id: str
    past: Past


class Rewritten(Struct, tag="rewrite", array_like=True, gc=False):
    """A notice that nobody has read yet says more."""

    agent_id: str
    message_id: str
    text: str
    payload: bytes


class Told(Struct, tag="told", array_like=True, gc=False):
    """An ending is in a notice, or needs none."""

    message_id: str
    recipient: str


class Noted(Struct, tag="noted", array_like=True, gc=False):
    """An ending was taken note of."""

    message_id: str
    recipient: str


class Answered(Struct, tag="answer", array_like=True):
    """A reply was taken and can be given again until `forget_at`."""

    agent_id: str
    forget_at: float
    wait: Wait


class QuestionClosed(Struct, tag="close", array_like=True, gc=False):
    question_id: str


class Claimed(Struct, tag="claim", array_like=True, gc=False):
    """A broadcast's key stands for a message id."""

    sender: str
    key: str
    fingerprint: bytes
    message_id: str
    at: float


class Abandoned(Struct, tag="abandon", array_like=True, gc=False):
    """The asker of a question went away."""

    sender: str
    recipient: str
    fingerprint: bytes
    question_id: str
    at: float


class Registered(Struct, tag="agent", array_like=True):
    agent: Agent


class Deregistered(Struct, tag="noagent", array_like=True, gc=False):
    agent_id: str


class WholeInbox(Struct, tag="wholeinbox", array_like=True):
    """All of an inbox: what was written of it before counts no more.

    `owed` is by seq; what is leased is among it.
    """

    agent_id: str
    epoch: str
    last_seq: int
    gap_through: int
    owed: list[tuple[Message, Past]]
    kept: list[Kept]
    settled: dict[str, Settled]
    answered: dict[str, tuple[float, Wait]]


class KeyOf(Struct, array_like=True, gc=False):
    """One idempotency key of a sender; `seq` and `expires_at` are of the receipt, if any."""

    recipient: str
    key: str
    fingerprint: bytes
    message_id: str
    forget_at: float
    receipt: tuple[int, str, float] | None


class WholeSender(Struct, tag="wholesender", array_like=True):
    """All idempotency keys of one sender."""

    sender: str
    keys: list[KeyOf]


class WholeRest(Struct, tag="rest", array_like=True):
    """All that belongs to no inbox and no sender's keys."""

    agents: list[Agent]
    endings: list[Undelivered]
    told: list[tuple[str, str]]
    questions: list[tuple[str, str, str, bytes]]
    abandoned: list[Abandoned]


Fact = (
    InboxMade
    | InboxGone
    | Accepted
    | Acked
    | Ended
    | Failed
    | Rewritten
    | Told
    | Noted
    | Answered
    | QuestionClosed
    | Claimed
    | Abandoned
    | Registered
    | Deregistered
    | WholeInbox
    | WholeSender
    | WholeRest
)

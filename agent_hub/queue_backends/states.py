"""The states that a message of an inbox can be in, as far as they need to be remembered.

`array_like`: a journal writes them as values without names.
"""

from __future__ import annotations

from msgspec import Struct

from agent_hub.core.mail import Standing, State
from agent_hub.core.message import Message

NEVER = float("inf")


class Past(Struct, gc=False, array_like=True):
    """What a ready message has behind it, when it was handed out before."""

    attempts: int
    failures: int


NO_PAST = Past(0, 0)


class Held(Struct, gc=False):
    """A leased message. `since` is wall time, `runs_out` monotonic; NEVER while held alive.

    `is_manual`: that it ran out is the reader's failure.
    """

    message: Message
    lease_id: str
    since: float
    attempt: int
    failures: int
    runs_out: float
    is_manual: bool = False


class Kept(Struct, gc=False, array_like=True):
    """An acked message that can still be read again."""

    message: Message
    attempt: int
    acked_at: float


class Settled(Struct, gc=False, array_like=True):
    """What is remembered of a message when its content is gone."""

    seq: int
    sender: str
    state: State
    since: float
    accepted_at: float
    expires_at: float
    attempts: int
    forget_at: float


def standing_of(message: Message, state: State, since: float, attempts: int) -> Standing:
    """Where a message stands whose content is still there."""
    return Standing(
        recipient=message.to,
        state=state,
        since=since,
        accepted_at=message.accepted_at,
        expires_at=message.expires_at,
        attempts=attempts,
    )

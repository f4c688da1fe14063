"""What travels: a draft becomes a message, a message becomes a delivery.

These are msgspec structs outside the garbage collector's sight: an inbox full of ordinary
objects makes every full collection walk all of them (docs/decisions/0002).
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from agent_hub.core.errors import Invalid

ALL = "ALL"
"""The recipient that means every registered agent but the sender."""
HUB = "hub"
"""The sender of the hub's own messages and frames."""
UNDELIVERED = "hub.undelivered"

MAX_CONTENT_BYTES = 256 * 1024
MAX_TTL_SECONDS = 7 * 24 * 3600.0
EMPTY_PAYLOAD = b"{}"

RESERVED_IDS = frozenset({ALL, HUB})
RESERVED_TYPES = ("hub.", "agent.")
"""How the types begin that only the hub sends."""

MAX_ID_CHARACTERS = MAX_TYPE_CHARACTERS = 64
AGENT_ID_PATTERN = f"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_ID_CHARACTERS - 1}}}$"
TYPE_PATTERN = f"^[a-z][a-z0-9_.-]{{0,{MAX_TYPE_CHARACTERS - 1}}}$"

_AGENT_ID = re.compile(AGENT_ID_PATTERN.strip("^$"))
_TYPE = re.compile(TYPE_PATTERN.strip("^$"))
_MESSAGE_ID = re.compile(r"m_[A-Za-z0-9_-]{22}")
# What is all zeros, or of version ff, is not valid (W3C Trace Context, 3.2.2).
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


_IDS_AT_ONCE = 256
_fresh_ids: list[str] = []
if hasattr(os, "register_at_fork"):
    # A child must not mint the ids that its parent will mint.
    os.register_at_fork(after_in_child=_fresh_ids.clear)


def new_message_id() -> str:
    """`m_` and 22 base64url characters: 128 random bits.

    Minted many at once: asking the system for randomness costs more than all else about an id.
    """
    if not _fresh_ids:
        random = os.urandom(16 * _IDS_AT_ONCE)
        for at in range(0, len(random), 16):
            encoded = base64.urlsafe_b64encode(random[at : at + 16])
            _fresh_ids.append("m_" + encoded[:22].decode())
    return _fresh_ids.pop()


def is_message_id(value: str) -> bool:
    return _MESSAGE_ID.fullmatch(value) is not None


def message_ids_of(named: Iterable[str]) -> list[str]:
    """Those that a message can have: a client names anything, and no store need look for that."""
    return [one for one in named if is_message_id(one)]


def is_agent_id(value: str) -> bool:
    # What is too long must not be remembered: 16,384 of them could fill the memory.
    return len(value) <= MAX_ID_CHARACTERS and _is_agent_id(value)


@lru_cache(maxsize=16_384)
def _is_agent_id(value: str) -> bool:
    return _AGENT_ID.fullmatch(value) is not None and value not in RESERVED_IDS


def is_sendable_type(value: str) -> bool:
    """Whether a client may send this type; `hub.*` and `agent.*` are the hub's own."""
    return len(value) <= MAX_TYPE_CHARACTERS and _is_sendable_type(value)


@lru_cache(maxsize=1_024)
def _is_sendable_type(value: str) -> bool:
    return _TYPE.fullmatch(value) is not None and not value.startswith(RESERVED_TYPES)


def is_traceparent(value: str) -> bool:
    """Whether this is a W3C trace context that can travel with a message."""
    return _TRACEPARENT.fullmatch(value) is not None


def check_agent_id(value: str, pointer: str) -> None:
    """Raise Invalid at `pointer` unless `value` can name an agent."""
    if not is_agent_id(value):
        raise Invalid.at(
            pointer,
            "an agent id is 1 to 64 of A-Z a-z 0-9 . _ - and starts with a letter or digit; "
            "ALL and hub are reserved",
        )


def _content_size(text: str, payload: bytes) -> int:
    """Content in bytes: the text in UTF-8 and the payload as compact JSON."""
    characters = len(text) if text.isascii() else len(text.encode())
    return characters + len(payload)


class Draft(Struct, gc=False, kw_only=True):
    """What a sender wrote. `payload` is one compact JSON object; `ttl` is in seconds."""

    sender: str
    to: str
    type: str = "message"
    text: str = ""
    payload: bytes = EMPTY_PAYLOAD
    reply_to: str | None = None
    ttl: float | None = None
    idempotency_key: str | None = None
    traceparent: str | None = None

    @property
    def size(self) -> int:
        """Content in bytes, as its sender wrote it."""
        return _content_size(self.text, self.payload)


class Message(Struct, gc=False, array_like=True):
    """An accepted draft: immutable. `accepted_at` is in the store's wall time.

    The lifetime is kept as `ttl` because that object is shared by all messages with the default
    one, where an absolute time would cost each of them 32 bytes. `array_like`: a journal writes
    the values without their names, so that their order here must stay.
    """

    id: str
    seq: int
    sender: str
    to: str
    type: str
    text: str
    payload: bytes
    reply_to: str | None
    traceparent: str | None
    broadcast: bool
    accepted_at: float
    ttl: float

    @property
    def expires_at(self) -> float:
        return self.accepted_at + self.ttl

    @property
    def size(self) -> int:
        """Content in bytes, as it counts against the inbox."""
        return _content_size(self.text, self.payload)


class Delivery(Struct, gc=False):
    """One message handed to one reader.

    `attempt` counts the hand-overs of this message; above 1 it may be a duplicate. `state` is
    `ready`, `leased` or `acked`, as the message stood when it was read.
    """

    message: Message
    epoch: str
    attempt: int
    state: str = "leased"

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.epoch, self.message.seq)


class Cursor(Struct, frozen=True, gc=False):
    """A position in one life of one inbox. For clients an opaque string, `<epoch>:<seq>`."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def parse(cls, value: str, pointer: str) -> Cursor:
        """Raise Invalid at `pointer` for anything the hub cannot have handed out."""
        epoch, _, seq = value.partition(":")
        is_epoch = 0 < len(epoch) <= 32 and epoch.isalnum()
        is_seq = len(seq) <= 18 and seq.isascii() and seq.isdigit()
        if not (is_epoch and is_seq):
            raise Invalid.at(pointer, "not a cursor of this hub")
        return cls(epoch, int(seq))

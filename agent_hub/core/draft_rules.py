"""What a sender may send, and when two drafts say the same."""

from __future__ import annotations

import hashlib

from agent_hub.core.bounds import MAX_KEY_CHARACTERS, MIN_TTL_SECONDS, check_span
from agent_hub.core.errors import ContentTooLarge, Invalid
from agent_hub.core.message import (
    ALL,
    EMPTY_PAYLOAD,
    MAX_CONTENT_BYTES,
    MAX_TTL_SECONDS,
    Draft,
    check_agent_id,
    is_message_id,
    is_sendable_type,
    is_traceparent,
)


def check_draft(draft: Draft) -> None:
    """Raise Invalid, naming the field, or ContentTooLarge, unless this can be accepted."""
    check_agent_id(draft.sender, "/from")
    if draft.to != ALL:
        check_agent_id(draft.to, "/to")
    if not is_sendable_type(draft.type):
        raise Invalid.at(
            "/type",
            "1 to 64 of a-z 0-9 _ . - and a letter first; hub.* and agent.* are the hub's own",
        )
    if draft.ttl is not None:
        check_span("/ttl", draft.ttl, MAX_TTL_SECONDS, shortest=MIN_TTL_SECONDS)
    if draft.reply_to is not None and not is_message_id(draft.reply_to):
        raise Invalid.at("/reply_to", "the id of a message: m_ and 22 characters")
    if draft.traceparent is not None and not is_traceparent(draft.traceparent):
        raise Invalid.at("/traceparent", "a W3C traceparent")
    _check_key(draft.idempotency_key)
    # A message without a payload shows an empty one, which its sender did not write.
    unwritten = len(EMPTY_PAYLOAD) if draft.payload == EMPTY_PAYLOAD else 0
    written = draft.size - unwritten
    if written > MAX_CONTENT_BYTES:
        raise ContentTooLarge(
            f"text and payload are {written} bytes, at most {MAX_CONTENT_BYTES} are taken"
        )


def _check_key(key: str | None) -> None:
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isprintable()):
        raise Invalid.at("/idempotency_key", f"1 to {MAX_KEY_CHARACTERS} printable characters")


def fingerprint(draft: Draft) -> bytes:
    """A digest of the content: the same for the same words, whoever retries them."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (draft.type, draft.text, draft.reply_to or "", str(draft.ttl)):
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    digest.update(draft.payload)
    return digest.digest()

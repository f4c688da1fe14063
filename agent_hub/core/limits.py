"""How much there may be of everything in a store, and for how long."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """The sizes of things; seconds, bytes and counts."""

    inbox_messages: int = 1_000
    inbox_bytes: int = 8 * 1024 * 1024
    kept_messages: int = 200
    settled_messages: int = 200
    settled_seconds: float = 3_600.0
    failures: int = 5
    notices_per_inbox: int = 50
    ids_per_notice: int = 20
    notice_ttl: float = 3_600.0
    unregistered_inboxes: int = 10_000
    empty_inbox_seconds: float = 600.0
    idempotency_seconds: float = 600.0
    idempotency_keys_per_sender: int = 10_000
    abandoned_wait_seconds: float = 60.0
    taking_seconds: float = 60.0
    waits_per_agent: int = 8
    answers_per_agent: int = 1_000
    registration_seconds: float = 24 * 3_600.0
    agents: int = 20_000
    agents_per_owner: int = 10_000
    drop_oldest: bool = False

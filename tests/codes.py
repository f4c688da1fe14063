"""The closed list of problem codes. It is public: the tests hold the code to it."""

from __future__ import annotations

CODES = {
    "malformed_json",
    "invalid",
    "body_too_large",
    "content_too_large",
    "unsupported_media_type",
    "slow_body",
    "unauthenticated",
    "forbidden",
    "insufficient_scope",
    "wrong_host",
    "wrong_origin",
    "not_found",
    "method_not_allowed",
    "agent_taken",
    "idempotency_mismatch",
    "wait_for_self",
    "rate_limited",
    "inbox_full",
    "sender_share",
    "too_many_waits",
    "too_many_inboxes",
    "backend_unavailable",
    "draining",
    "internal",
}

"""What every store says when it refuses, and when to try again."""

from __future__ import annotations

from agent_hub.core.errors import (
    IdempotencyMismatch,
    InboxFull,
    SenderShare,
    TooManyInboxes,
    TooManyWaits,
)
from agent_hub.core.limits import Limits

RETRY_SECONDS = 1.0
"""A reader may make room, or an answer come, at any moment."""


def inbox_full(recipient: str) -> InboxFull:
    return InboxFull(f"the inbox of {recipient} is full", retry_after=RETRY_SECONDS)


def sender_share(sender: str, recipient: str) -> SenderShare:
    return SenderShare(
        f"{sender} has as many unread messages in the inbox of {recipient} as it has places left",
        retry_after=RETRY_SECONDS,
    )


def key_mismatch(key: str, recipient: str) -> IdempotencyMismatch:
    return IdempotencyMismatch(f"idempotency key {key!r} was used for other content to {recipient}")


def too_many_waits(agent_id: str, limits: Limits) -> TooManyWaits:
    return TooManyWaits(
        f"{agent_id} waits for {limits.waits_per_agent} answers already",
        retry_after=RETRY_SECONDS,
    )


def too_many_inboxes(agent_id: str, limits: Limits) -> TooManyInboxes:
    """For an id that nobody registered."""
    return TooManyInboxes(
        f"{agent_id} is not registered, and the hub holds "
        f"{limits.unregistered_inboxes} inboxes for such ids already",
        retry_after=limits.empty_inbox_seconds,
    )


def too_many_agents(limits: Limits, *, is_share: bool = False) -> TooManyInboxes:
    """For a new agent; `is_share`: its owner has as many as one may have."""
    held = (
        f"this credential's principal has {limits.agents_per_owner} agents registered"
        if is_share
        else f"{limits.agents} agents are registered"
    )
    return TooManyInboxes(
        f"{held}, and the hub takes no more; an old registration ends"
        f" {limits.registration_seconds / 3600:g} hours after its agent's last sign of life",
        retry_after=limits.empty_inbox_seconds,
    )

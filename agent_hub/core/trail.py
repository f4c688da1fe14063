"""The trail of each message through the hub: lines of the lowest level, for whoever looks for it.

Never what a message says. Where nobody looks, a call costs one question.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

from agent_hub.core.message import Delivery, Draft
from agent_hub.core.queue_backend import Acked

log = logging.getLogger(__name__)

REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""The request, or the open socket, in which something happens; set while the trail is kept."""


def is_kept() -> bool:
    return log.isEnabledFor(logging.DEBUG)


def begun(request_id: str) -> None:
    """From here on, what happens in this task happens in this request."""
    if is_kept():
        REQUEST_ID.set(request_id)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """A request was answered, or a socket closed. The route is the template, not the path."""
    if is_kept():
        fields = {"method": method, "route": route, "status": status}
        log.debug("answered", extra={**fields, "duration": round(seconds, 6)})


def accepted(via: str, draft: Draft, message_id: str) -> None:
    """A message, or a broadcast under one id, became owed."""
    if is_kept():
        fields = {"agent": draft.sender, "to": draft.to, "message_id": message_id, "via": via}
        log.debug("accepted", extra={**fields, **_trace(draft.traceparent)})


def delivered(via: str, deliveries: Sequence[Delivery]) -> None:
    """Messages were handed over to their recipient."""
    if is_kept():
        for delivery in deliveries:
            message = delivery.message
            fields = {"agent": message.to, "message_id": message.id, "via": via}
            attempt = {"attempt": delivery.attempt}
            log.debug("delivered", extra={**fields, **attempt, **_trace(message.traceparent)})


def acked(mode: str, messages: Sequence[Acked]) -> None:
    """Messages were settled."""
    if is_kept():
        for one in messages:
            log.debug("acked, %s", mode, extra={"message_id": one.message_id})


def _trace(traceparent: str | None) -> dict[str, str]:
    return {} if traceparent is None else {"traceparent": traceparent}

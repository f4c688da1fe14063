"""The trail of each message through the hub: lines of the lowest level, for whoever looks for it.

Never what a message says. Where nobody looks, it costs the look at one attribute: ask for `is_kept`
before you tell.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextvars import ContextVar

from agent_hub.core.mail import Acked
from agent_hub.core.message import Delivery, Draft

log = logging.getLogger(__name__)

REQUEST_ID: ContextVar[str] = ContextVar("request_id")
"""The request, or the open socket, in which something happens; set while the trail is kept."""


class Trail:
    """One for the whole process, as the log is."""

    def __init__(self) -> None:
        self.is_kept = False

    def begun(self, request_id: str) -> None:
        """From here on, what happens in this task happens in this request."""
        REQUEST_ID.set(request_id)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered, or a socket closed. The route is the template, not the path."""
        fields = {"method": method, "route": route, "status": status}
        log.debug("answered", extra={**fields, "duration": round(seconds, 6)})

    def accepted(self, via: str, draft: Draft, message_id: str) -> None:
        """A message, or a broadcast under one id, became owed."""
        fields = {"agent": draft.sender, "to": draft.to, "message_id": message_id, "via": via}
        log.debug("accepted", extra={**fields, **_trace(draft.traceparent)})

    def delivered(self, via: str, deliveries: Sequence[Delivery]) -> None:
        """Messages were handed over to their recipient."""
        for delivery in deliveries:
            message = delivery.message
            fields = {"agent": message.to, "message_id": message.id, "via": via}
            attempt = {"attempt": delivery.attempt}
            log.debug("delivered", extra={**fields, **attempt, **_trace(message.traceparent)})

    def acked(self, mode: str, messages: Sequence[Acked]) -> None:
        """Messages were settled."""
        for one in messages:
            log.debug("acked, %s", mode, extra={"message_id": one.message_id})


def _trace(traceparent: str | None) -> dict[str, str]:
    return {} if traceparent is None else {"traceparent": traceparent}


TRAIL = Trail()

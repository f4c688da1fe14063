"""The notices in one inbox that nobody has read yet: they grow until somebody does."""

from __future__ import annotations

from agent_hub.core.limits import Limits
from agent_hub.core.mail import Undelivered
from agent_hub.core.message import UNDELIVERED, Message
from agent_hub.core.notice import Notice


class PendingNotices:
    """At most one for each recipient of whom there is something to tell."""

    __slots__ = ("_limits", "_pending")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pending: dict[str, tuple[str, Notice]] = {}  # recipient -> (message id, content)

    def __contains__(self, recipient: str) -> bool:
        return recipient in self._pending

    def new(self, ended: Undelivered) -> Notice:
        """A notice of one ending, for a recipient who has none that is pending."""
        notice = Notice.about(ended.recipient)
        notice.add(ended, self._limits.ids_per_notice)
        return notice

    def add(self, ended: Undelivered) -> tuple[str, Notice] | None:
        """Tell of one more ending in the pending one, and return it with the id of its message;
        None when that was told already.
        """
        message_id, notice = self._pending[ended.recipient]
        return (message_id, notice) if notice.add(ended, self._limits.ids_per_notice) else None

    def open(self, message: Message, notice: Notice) -> None:
        """From now on it grows."""
        self._pending[notice.recipient] = (message.id, notice)

    def close(self, message: Message) -> None:
        """What has been handed out, or is gone, is not written to any more."""
        if message.type == UNDELIVERED:
            self._pending = {
                recipient: pending
                for recipient, pending in self._pending.items()
                if pending[0] != message.id
            }

"""The messages of one inbox that wait to be handed out, in the order of their seq."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterator

from agent_hub.core.message import Message
from agent_hub.queue_backends.states import NEVER, NO_PAST, Past


class Ready:
    """Those that were handed out before have something behind them, which they take along.

    `earliest_expiry` is a lower bound of the (wall) time at which the first one expires.
    """

    __slots__ = ("_messages", "_past", "earliest_expiry")

    def __init__(self) -> None:
        self.earliest_expiry = NEVER
        self._messages: list[Message] = []
        self._past: dict[str, Past] = {}

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        return iter(self._messages)

    def get(self, message_id: str) -> Message | None:
        return next((message for message in self._messages if message.id == message_id), None)

    def past(self, message: Message) -> Past:
        return self._past.get(message.id, NO_PAST)

    @property
    def oldest_at(self) -> float | None:
        """When the first one was accepted."""
        return self._messages[0].accepted_at if self._messages else None

    # --- in -------------------------------------------------------------------------------

    def append(self, message: Message) -> None:
        """A new one, with the highest seq."""
        self._messages.append(message)
        if message.expires_at < self.earliest_expiry:
            self.earliest_expiry = message.expires_at

    def put_back(self, message: Message, past: Past = NO_PAST) -> None:
        """One that was here before goes to its place."""
        insort(self._messages, message, key=_seq)
        if past is not NO_PAST:
            self._past[message.id] = past
        self.earliest_expiry = min(self.earliest_expiry, message.expires_at)

    def rewrite(self, message: Message) -> None:
        """Put another of the same id in its place."""
        at = next(at for at, one in enumerate(self._messages) if one.id == message.id)
        self._messages[at] = message

    # --- out ------------------------------------------------------------------------------

    def take(self, limit: int, max_bytes: int) -> list[Message]:
        """The first ones, at most `max_bytes` of content but at least one."""
        taken = self._messages[:limit]
        for count, message in enumerate(taken):
            max_bytes -= message.size
            if max_bytes < 0 and count:
                del taken[count:]
                break
        del self._messages[: len(taken)]
        return taken

    def remove(self, message: Message) -> None:
        self._messages.remove(message)

    def remove_all(self, message_ids: Container[str]) -> list[Message]:
        """Those of these that are here, by seq."""
        removed = [message for message in self._messages if message.id in message_ids]
        for message in removed:
            self._messages.remove(message)
        return removed

    def expire(self, now: float) -> list[Message]:
        """Those whose time is over."""
        expired = [message for message in self._messages if message.expires_at <= now]
        if expired:
            self._messages = [message for message in self._messages if message.expires_at > now]
        self.earliest_expiry = min(
            (message.expires_at for message in self._messages), default=NEVER
        )
        return expired

    def pop_past(self, message: Message) -> Past:
        """What a message that was taken out had behind it."""
        return self._past.pop(message.id, NO_PAST) if self._past else NO_PAST


def _seq(message: Message) -> int:
    return message.seq

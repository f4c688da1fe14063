"""What a client remembers of the messages it has had: which, and how far."""

from __future__ import annotations

from agent_hub.client.answers import Message

# An inbox owes at most 1,000 messages and keeps 200: a duplicate of anything older cannot come.
REMEMBERED = 4096


class Handed:
    """The ids of messages taken from the hub, oldest first, and whether each is settled."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._settled: dict[str, bool] = {}

    def take(self, message_id: str) -> bool:
        """Whether this id is new; it counts as held from now on."""
        if message_id in self._settled:
            return False
        self._remember(message_id, settled=False)
        return True

    def settle(self, message_id: str) -> None:
        self._remember(message_id, settled=True)

    def is_settled(self, message_id: str) -> bool:
        return self._settled.get(message_id, False)

    def forget(self, message_id: str) -> None:
        """The next time it comes it is new again."""
        self._settled.pop(message_id, None)

    def forget_held(self) -> None:
        """Forget all that nobody will settle any more."""
        self._settled = {key: True for key, settled in self._settled.items() if settled}

    def _remember(self, message_id: str, *, settled: bool) -> None:
        self._settled[message_id] = settled
        if len(self._settled) > self._limit:
            del self._settled[next(iter(self._settled))]


class Position:
    """The cursor of the newest message handed to a handler."""

    def __init__(self, cursor: str | None = None) -> None:
        self.cursor = cursor
        self._seq = 0

    def advance(self, message: Message) -> None:
        # A message that was given back comes again after newer ones: that is no step back.
        if message.seq > self._seq:
            self.cursor, self._seq = message.cursor, message.seq

    def restart(self) -> None:
        """The inbox began a new life: its next message counts, however low its number."""
        self._seq = 0

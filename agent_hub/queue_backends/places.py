"""The places of one inbox, its bytes, and how many of them each sender has."""

from __future__ import annotations

from collections.abc import Iterable

from agent_hub.core.limits import Limits
from agent_hub.core.message import HUB, Message
from agent_hub.queue_backends.refusals import inbox_full, sender_share


class Places:
    """Counts what is owed and what is on its way in. `bytes` are of content.

    No sender may have more places than are left for others. The hub's notices are outside all
    this and have places of their own.
    """

    __slots__ = ("_agent_id", "_by_sender", "_limits", "_notices", "_taken", "bytes")

    def __init__(self, agent_id: str, limits: Limits) -> None:
        self.bytes = 0
        self._agent_id = agent_id
        self._limits = limits
        self._taken = 0
        self._by_sender: dict[str, int] = {}
        self._notices = 0

    def take(self, sender: str, size: int) -> None:
        """One more. Whether it may be, `make_room` says."""
        if sender == HUB:
            self._notices += 1
            return
        self._taken += 1
        self.bytes += size
        self._by_sender[sender] = self._by_sender.get(sender, 0) + 1

    def give_back(self, sender: str, size: int) -> None:
        if sender == HUB:
            self._notices -= 1
            return
        self._taken -= 1
        self.bytes -= size
        count = self._by_sender[sender] - 1
        if count:
            self._by_sender[sender] = count
        else:
            del self._by_sender[sender]

    @property
    def has_room_for_a_notice(self) -> bool:
        return self._notices < self._limits.notices_per_inbox

    def make_room(self, sender: str, size: int, ready: Iterable[Message]) -> list[Message]:
        """What of the ready ones is to be dropped for a message. Raises InboxFull or SenderShare
        when it does not fit.
        """
        limits = self._limits
        places = limits.inbox_messages - self._taken
        room = limits.inbox_bytes - self.bytes
        share = self._by_sender.get(sender, 0)
        if places > share and room >= size:
            return []
        victims = _victims(ready, sender, size, places, room, share) if limits.drop_oldest else []
        if not victims:
            if places <= 0 or room < size:
                raise inbox_full(self._agent_id)
            raise sender_share(sender, self._agent_id)
        return victims


def _victims(
    ready: Iterable[Message], sender: str, size: int, places: int, room: int, share: int
) -> list[Message]:
    """The fewest that must go, the sender's own first: a flood hits itself.

    None at all when the message would not fit even then: a refusal changes nothing.
    """
    mail = [message for message in ready if message.sender != HUB]
    mail.sort(key=lambda message: message.sender != sender)  # stable: the oldest first
    for count, message in enumerate(mail, start=1):
        places += 1
        room += message.size
        share -= message.sender == sender
        if places > share and room >= size:
            return mail[:count]
    return []

"""What ended without an ack, until somebody has taken note of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from itertools import islice

from agent_hub.core.mail import State, Undelivered

Ending = tuple[str, str]
"""A message id and the recipient."""


class Endings:
    """The endings, oldest first. `counts` are of all since the beginning.

    `told` are those that stand in a notice, or need none: telling one twice changes nothing.
    """

    def __init__(self) -> None:
        self.counts: Counter[State] = Counter()
        self.told: set[Ending] = set()
        self._ended: dict[Ending, Undelivered] = {}

    def add(self, ended: Undelivered) -> None:
        self._ended[_name(ended)] = ended
        self.counts[ended.state] += 1

    def all(self) -> Collection[Undelivered]:
        return self._ended.values()

    def oldest(self, limit: int) -> list[Undelivered]:
        return list(islice(self._ended.values(), limit))

    def must_be_told(self, ended: Undelivered) -> bool:
        """Whether its sender has not been told yet."""
        return _name(ended) in self._ended and _name(ended) not in self.told

    def tell(self, ended: Undelivered) -> None:
        """Its sender was told."""
        self.told.add(_name(ended))

    def forget(self, message_id: str, recipient: str) -> None:
        """Somebody has taken note of it."""
        self._ended.pop((message_id, recipient), None)
        self.told.discard((message_id, recipient))

    def restore(self, ended: Collection[Undelivered], told: Collection[Ending]) -> None:
        """What was not noted yet when it was written down."""
        self._ended = {_name(one): one for one in ended}
        self.told = set(told)


def _name(ended: Undelivered) -> Ending:
    return ended.message_id, ended.recipient

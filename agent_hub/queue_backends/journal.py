"""Where the model writes down what happens, and what must be written before it happens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from agent_hub.queue_backends.facts import Fact

T = TypeVar("T")


class Change(ABC, Generic[T]):
    """Something that nobody may see before it is written. Its room is reserved already.

    `number` is called once, when the change's turn has come; then either `publish` or, when it
    could not be written, `withdraw`. Changes are numbered and published in one order, and
    withdrawn in the reverse of it.
    """

    @abstractmethod
    def number(self) -> Sequence[Fact]:
        """Take the next place, and say what is to be written."""

    @abstractmethod
    def publish(self) -> T:
        """It is written: let it happen."""

    @abstractmethod
    def withdraw(self) -> None:
        """It was not written: give back the place and the room."""


class Journal:
    """The journal of a model that lives in memory alone: everything counts as written at once."""

    is_instant = True
    """Whether nothing can come between a change and its writing."""

    def note(self, fact: Fact) -> None:
        """Write down, some time soon, what has happened already."""

    async def write(self, change: Change[T]) -> T:
        """Write a change, then let it happen. Raises BackendUnavailable, and it has not."""
        change.number()
        return change.publish()

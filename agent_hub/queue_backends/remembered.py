"""What one inbox still knows of messages that are over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import islice

from agent_hub.core.limits import Limits
from agent_hub.core.mail import Standing, State
from agent_hub.core.message import Message
from agent_hub.queue_backends.states import NEVER, Kept, Settled, standing_of


class Remembered:
    """The newest acked messages are kept whole; of the others it is settled how they ended.

    `gap_through` is the newest seq that was lost, or is kept no more. `due_at` is a lower bound of
    the time at which the time of some is over. `forgotten` is told the id of a message of which
    nothing is known any more, and the agent.
    """

    __slots__ = (
        "_agent_id",
        "_forgotten",
        "_limits",
        "due_at",
        "gap_through",
        "kept",
        "settled",
    )

    def __init__(
        self, agent_id: str, limits: Limits, forgotten: Callable[[str, str], None]
    ) -> None:
        self.gap_through = 0
        self.due_at = NEVER
        self.kept: dict[str, Kept] = {}  # by the time of the ack
        self.settled: dict[str, Settled] = {}  # by the time of settling
        self._agent_id = agent_id
        self._limits = limits
        self._forgotten = forgotten

    def __contains__(self, message_id: str) -> bool:
        return message_id in self.kept or message_id in self.settled

    def restore(
        self, kept: Collection[Kept], settled: dict[str, Settled], gap_through: int
    ) -> None:
        """Know again what was known before."""
        self.kept = {one.message.id: one for one in kept}
        self.settled = settled
        self.gap_through = gap_through
        self.due_at = -NEVER

    # --- in and out -----------------------------------------------------------------------

    def keep(self, message: Message, attempt: int, now: float) -> None:
        """A message was acked."""
        self.kept[message.id] = Kept(message, attempt, now)
        if message.expires_at < self.due_at:
            self.due_at = message.expires_at
        if len(self.kept) > self._limits.kept_messages:
            self._unkeep(next(iter(self.kept)), now)

    def _unkeep(self, message_id: str, now: float) -> None:
        kept = self.kept.pop(message_id)
        self.settle(kept.message, State.ACKED, kept.acked_at, kept.attempt, now)

    def settle(
        self, message: Message, state: State, since: float, attempts: int, now: float
    ) -> None:
        """A message is gone; it ended like this."""
        if message.seq > self.gap_through:
            self.gap_through = message.seq
        forget_at = now + self._limits.settled_seconds
        self.settled[message.id] = Settled(
            message.seq,
            message.sender,
            state,
            since,
            message.accepted_at,
            message.expires_at,
            attempts,
            forget_at,
        )
        if forget_at < self.due_at:
            self.due_at = forget_at
        if len(self.settled) > self._limits.settled_messages:
            self._forget(next(iter(self.settled)))

    def _forget(self, message_id: str) -> None:
        del self.settled[message_id]
        self._forgotten(message_id, self._agent_id)

    def forget_old(self, now: float) -> None:
        """What is kept or settled goes when its time is over.

        In the order of time, not of looking: read from a journal, it comes to the same.
        """
        over = [kept.message for kept in self.kept.values() if kept.message.expires_at <= now]
        over.sort(key=lambda message: message.expires_at)
        for message in over:
            self._unkeep(message.id, message.expires_at)
        while self.settled and next(iter(self.settled.values())).forget_at <= now:
            self._forget(next(iter(self.settled)))
        times = [kept.message.expires_at for kept in self.kept.values()]
        times += [settled.forget_at for settled in islice(self.settled.values(), 1)]
        self.due_at = min(times, default=NEVER)

    # --- to look at -----------------------------------------------------------------------

    def ids(self) -> Iterator[str]:
        yield from self.kept
        yield from self.settled

    def kept_after(self, seq: int) -> list[Kept]:
        return [kept for kept in self.kept.values() if kept.message.seq > seq]

    def find(self, message_id: str) -> Message | Settled | None:
        """What there is of a message."""
        kept = self.kept.get(message_id)
        return self.settled.get(message_id) if kept is None else kept.message

    def standing(self, message_id: str) -> Standing | None:
        if kept := self.kept.get(message_id):
            return standing_of(kept.message, State.ACKED, kept.acked_at, kept.attempt)
        if settled := self.settled.get(message_id):
            return Standing(
                recipient=self._agent_id,
                state=settled.state,
                since=settled.since,
                accepted_at=settled.accepted_at,
                expires_at=settled.expires_at,
                attempts=settled.attempts,
            )
        return None

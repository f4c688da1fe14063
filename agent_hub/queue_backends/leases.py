"""Who holds which messages of one inbox, and until when."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from agent_hub.queue_backends.states import NEVER, Held


class Leases:
    """The leased messages, by their id and by their lease.

    `earliest_end` is a lower bound of the (monotonic) time at which the first lease runs out.
    """

    __slots__ = ("_held", "_ids", "earliest_end")

    def __init__(self) -> None:
        self.earliest_end = NEVER
        self._held: dict[str, Held] = {}
        self._ids: dict[str, list[str]] = {}  # by lease

    def __len__(self) -> int:
        return len(self._held)

    def has(self, lease_id: str) -> bool:
        """Whether a lease holds something."""
        return lease_id in self._ids

    def __getitem__(self, message_id: str) -> Held:
        return self._held[message_id]

    def get(self, message_id: str) -> Held | None:
        return self._held.get(message_id)

    def all(self) -> Collection[Held]:
        return self._held.values()

    def all_ids(self) -> Collection[str]:
        return self._held.keys()

    def of(self, lease_id: str) -> list[Held]:
        """What a lease holds, in the order in which it was handed out."""
        return [self._held[message_id] for message_id in self._ids.get(lease_id, ())]

    def held_by(self, lease_id: str, message_ids: Sequence[str]) -> list[Held]:
        """What a lease holds of these."""
        held = (self._held.get(message_id) for message_id in dict.fromkeys(message_ids))
        return [one for one in held if one is not None and one.lease_id == lease_id]

    def begin(self, lease_id: str, held: Sequence[Held], runs_out: float) -> None:
        """A new lease of these."""
        self._ids[lease_id] = [one.message.id for one in held]
        for one in held:
            self._held[one.message.id] = one
        if runs_out < self.earliest_end:
            self.earliest_end = runs_out

    def join(self, held: Held) -> None:
        """One more for its lease, which may be a new one, and never runs out."""
        self._held[held.message.id] = held
        self._ids.setdefault(held.lease_id, []).append(held.message.id)

    def drop(self, held: Held) -> None:
        """Take a message out of its lease."""
        message_id = held.message.id
        del self._held[message_id]
        lease = self._ids[held.lease_id]
        lease.remove(message_id)
        if not lease:
            del self._ids[held.lease_id]

    def extend(self, held: Held, runs_out: float) -> None:
        held.runs_out = runs_out
        self.earliest_end = min(self.earliest_end, runs_out)

    def that_never_run_out(self) -> list[str]:
        """The leases that live as long as something else does."""
        return [
            lease_id for lease_id, ids in self._ids.items() if self._held[ids[0]].runs_out == NEVER
        ]

    def run_out(self, monotonic: float) -> list[Held]:
        """What is held longer than it may be, to be dropped now."""
        over = [held for held in self._held.values() if held.runs_out <= monotonic]
        self.earliest_end = min(
            (held.runs_out for held in self._held.values() if held.runs_out > monotonic),
            default=NEVER,
        )
        return over

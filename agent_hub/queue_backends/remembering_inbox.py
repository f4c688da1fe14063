"""An inbox that can be told whole, and becomes again what it was when its facts were written."""

from __future__ import annotations

from sys import intern

from msgspec.structs import replace

from agent_hub.core.message import Message
from agent_hub.queue_backends import facts
from agent_hub.queue_backends.inbox import Inbox
from agent_hub.queue_backends.states import NEVER, NO_PAST, Held, Past

BYTES_OF_A_MESSAGE = 150
"""Written, beside its content."""
LOST_HOLDER = ""
"""The lease of all that was owed when another process ended."""


class RememberingInbox(Inbox):
    """While facts are read, nobody knows who held what: all that is owed is held by the lost."""

    # --- told -----------------------------------------------------------------------------

    def whole(self) -> facts.WholeInbox:
        """All of it that outlives the process."""
        unread = [*self._ready, *self._making_way]
        owed = [(message, self._ready.past(message)) for message in unread]
        owed += [(held.message, Past(held.attempt, held.failures)) for held in self._leases.all()]
        owed.sort(key=lambda one: one[0].seq)
        return facts.WholeInbox(
            agent_id=self.agent_id,
            epoch=self.epoch,
            last_seq=self._last_seq,
            gap_through=self._remembered.gap_through,
            owed=owed,
            kept=list(self._remembered.kept.values()),
            settled=self._remembered.settled,
            answered=self.waits.answers,
        )

    @property
    def weight(self) -> int:
        """About how many bytes the whole of it has, written."""
        kept = sum(kept.message.size for kept in self._remembered.kept.values())
        return self._places.bytes + kept + (len(self.known_ids()) + 1) * BYTES_OF_A_MESSAGE

    # --- read again -----------------------------------------------------------------------

    def restore(self, whole: facts.WholeInbox) -> None:
        """Become what was written; only for a new inbox."""
        self.epoch = whole.epoch
        for message, past in whole.owed:
            self._hold_for_the_lost(message, past)
        self._last_seq = whole.last_seq
        self._remembered.restore(whole.kept, whole.settled, whole.gap_through)
        for forget_at, answer in whole.answered.values():
            self.waits.restore_answer(answer, forget_at)

    def restore_accepted(self, message: Message) -> None:
        """Take in what was accepted. Raises ValueError when something before it is missing."""
        if message.seq != self._last_seq + 1:
            raise ValueError(f"seq {message.seq} of {self.agent_id} follows seq {self._last_seq}")
        self._forget_due(message.accepted_at)  # one of the same id, perhaps
        self._hold_for_the_lost(message, NO_PAST)

    def _hold_for_the_lost(self, message: Message, past: Past) -> None:
        message.sender, message.type = intern(message.sender), intern(message.type)
        message.to = self.agent_id
        self._last_seq = message.seq
        self._places.take(message.sender, message.size)
        attempt = max(1, past.attempts)
        held = Held(message, LOST_HOLDER, message.accepted_at, attempt, past.failures, NEVER)
        self._leases.join(held)

    def restore_acked(self, acked: facts.Acked) -> None:
        self._forget_due(acked.at)
        held = self._taken_back(acked.message_id)
        self._keep(held.message, acked.attempt, acked.at)

    def restore_ended(self, ended: facts.Ended) -> None:
        self._forget_due(ended.at)
        held = self._taken_back(ended.message_id)
        self._end(held.message, ended.state, ended.at, ended.attempts)

    def _forget_due(self, now: float) -> None:
        if now >= self._remembered.due_at:
            self._remembered.forget_old(now)

    def _taken_back(self, message_id: str) -> Held:
        held = self._leases[message_id]
        self._leases.drop(held)
        return held

    def restore_failed(self, failed: facts.Failed) -> None:
        held = self._leases[failed.message_id]
        held.attempt, held.failures = failed.past.attempts, failed.past.failures

    def restore_rewritten(self, rewritten: facts.Rewritten) -> None:
        held = self._leases[rewritten.message_id]
        held.message = replace(held.message, text=rewritten.text, payload=rewritten.payload)

    def give_back_the_lost(self, now: float) -> None:
        """All that was read is read: what the lost held is ready again, in its place."""
        self.release(LOST_HOLDER, None, now, failure=False)

"""The memory model, told as facts and read again from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, cast

from agent_hub.core.mail import Receipt, State
from agent_hub.core.message import ALL
from agent_hub.queue_backends import facts
from agent_hub.queue_backends.agents import Agents
from agent_hub.queue_backends.claims import Claim
from agent_hub.queue_backends.compaction import Piece
from agent_hub.queue_backends.memory import MemoryBackend, Question
from agent_hub.queue_backends.records import Damaged, Record, Sums
from agent_hub.queue_backends.remembering_inbox import RememberingInbox

BYTES_OF_A_KEY = 150
BYTES_OF_AN_AGENT = 300


class RememberingBackend(MemoryBackend):
    """A model that becomes again what it was when its facts were written.

    A fact about an inbox that is not known is passed over: the whole of that inbox stands in a
    later record, or it is gone.
    """

    _kind_of_inbox = RememberingInbox

    @property
    def _own_inboxes(self) -> dict[str, RememberingInbox]:
        """All inboxes, as what `_make_inbox` makes here."""
        return cast("dict[str, RememberingInbox]", self._inboxes)

    def _recall(self, record: Record) -> None:
        """Let what a record says have happened. Raises Damaged when it cannot have."""
        for fact in record.facts:
            try:
                self._recalls[type(fact)](self, fact)
            except (KeyError, ValueError) as error:
                raise Damaged(f"what was written does not fit together: {error}") from error
        self._recall_sums(record.sums)

    def _recall_sums(self, sums: Sums) -> None:
        self._accepted = Counter({(via, kind): n for via, kind, n in sums.accepted_by})
        self._acked = Counter(dict(sums.acked_by))
        # What was counted before it was counted by how it came and went.
        if rest := sums.accepted - self._accepted.total():
            self._accepted[facts.UNKNOWN, facts.UNKNOWN] += rest
        if rest := sums.acked - self._acked.total():
            self._acked[facts.UNKNOWN] += rest
        self._endings.counts = Counter(
            {
                State.EXPIRED: sums.expired,
                State.DEAD: sums.dead,
                State.DROPPED: sums.dropped,
            }
        )

    def _sums(self, coming: Sequence[facts.Fact]) -> Sums:
        """As they are once what is coming has come."""
        accepted, ends = self._accepted.copy(), self._endings.counts
        for fact in coming:
            if type(fact) is facts.Accepted:
                accepted[fact.via, fact.kind] += 1
        return Sums(
            accepted.total(),
            self._acked.total(),
            ends[State.EXPIRED],
            ends[State.DEAD],
            ends[State.DROPPED],
            tuple((via, kind, count) for (via, kind), count in accepted.items()),
            tuple(self._acked.items()),
        )

    def _wake_up(self) -> None:
        """All is recalled. Whoever held a message, or waited for an answer, is gone."""
        now = self._clock.time()
        self._unregistered = self._inboxes.keys() - self._agents.keys()
        for inbox in list(self._own_inboxes.values()):
            inbox.give_back_the_lost(now)
        questions, self._questions = self._questions, {}
        for question_id, question in questions.items():
            self._journal.note(facts.QuestionClosed(question_id))
            self._abandon(question_id, question, now)

    # --- inboxes --------------------------------------------------------------------------

    def _recall_inbox(self, made: facts.InboxMade) -> None:
        self._make_inbox(made.agent_id).epoch = made.epoch

    def _recall_gone(self, gone: facts.InboxGone) -> None:
        if gone.agent_id in self._inboxes:
            self._remove_inbox(self._inboxes[gone.agent_id])

    def _recall_accepted(self, accepted: facts.Accepted) -> None:
        message = accepted.message
        inbox = self._own_inboxes.get(message.to)
        if inbox is None:
            return
        inbox.restore_accepted(message)
        self._whereabouts.add(message.id, inbox)
        sender, at = message.sender, message.accepted_at
        if accepted.key is not None and not message.broadcast:
            receipt = self._first_receipt(message, inbox)
            self._claims.add(
                sender, message.to, accepted.key, accepted.fingerprint, message.id, at, receipt
            )
        elif accepted.asking:
            self._questions[message.id] = Question(sender, message.to, accepted.fingerprint)

    def _recall_acked(self, acked: facts.Acked) -> None:
        if inbox := self._own_inboxes.get(acked.agent_id):
            inbox.restore_acked(acked)

    def _recall_ended(self, ended: facts.Ended) -> None:
        if inbox := self._own_inboxes.get(ended.agent_id):
            inbox.restore_ended(ended)

    def _recall_failed(self, failed: facts.Failed) -> None:
        if inbox := self._own_inboxes.get(failed.agent_id):
            inbox.restore_failed(failed)

    def _recall_rewritten(self, rewritten: facts.Rewritten) -> None:
        if inbox := self._own_inboxes.get(rewritten.agent_id):
            inbox.restore_rewritten(rewritten)

    def _recall_answered(self, answered: facts.Answered) -> None:
        if inbox := self._inboxes.get(answered.agent_id):
            inbox.waits.restore_answer(answered.wait, answered.forget_at)

    def _recall_whole_inbox(self, whole: facts.WholeInbox) -> None:
        if before := self._inboxes.get(whole.agent_id):
            self._remove_inbox(before)
        self._make_inbox(whole.agent_id)
        inbox = self._own_inboxes[whole.agent_id]
        inbox.restore(whole)
        for message_id in inbox.known_ids():
            self._whereabouts.add(message_id, inbox)

    # --- what belongs to no inbox -----------------------------------------------------------

    def _recall_told(self, told: facts.Told) -> None:
        self._endings.told.add((told.message_id, told.recipient))

    def _recall_noted(self, noted: facts.Noted) -> None:
        self._endings.forget(noted.message_id, noted.recipient)

    def _recall_closed(self, closed: facts.QuestionClosed) -> None:
        self._questions.pop(closed.question_id, None)

    def _recall_claimed(self, claimed: facts.Claimed) -> None:
        self._claims.add(
            claimed.sender,
            ALL,
            claimed.key,
            claimed.fingerprint,
            claimed.message_id,
            claimed.at,
        )

    def _recall_abandoned(self, abandoned: facts.Abandoned) -> None:
        receipt = self._receipt(abandoned.question_id, abandoned.recipient)
        if receipt is not None:
            self._claims.abandon(
                abandoned.sender, abandoned.recipient, abandoned.fingerprint, receipt, abandoned.at
            )

    def _recall_registered(self, registered: facts.Registered) -> None:
        self._agents.put(registered.agent)

    def _recall_deregistered(self, deregistered: facts.Deregistered) -> None:
        self._agents.remove(deregistered.agent_id)

    def _recall_sender(self, whole: facts.WholeSender) -> None:
        self._claims.restore(
            whole.sender, {(key.recipient, key.key): self._claim(key) for key in whole.keys}
        )

    def _claim(self, key: facts.KeyOf) -> Claim:
        receipt = None
        if key.receipt is not None:
            seq, epoch, expires_at = key.receipt
            receipt = Receipt(
                message_id=key.message_id,
                seq=seq,
                epoch=epoch,
                expires_at=expires_at,
                recipient=self._agents.get(key.recipient),
            )
        return Claim(key.fingerprint, key.message_id, receipt, key.forget_at)

    def _recall_rest(self, rest: facts.WholeRest) -> None:
        self._agents = Agents()
        for agent in rest.agents:
            self._agents.put(agent)
        self._endings.restore(rest.endings, rest.told)
        self._questions = {
            question_id: Question(asker, asked, fingerprint)
            for question_id, asker, asked, fingerprint in rest.questions
        }
        for abandoned in rest.abandoned:
            self._recall_abandoned(abandoned)

    _recalls: ClassVar[dict[type, Callable[[RememberingBackend, Any], None]]] = {
        facts.InboxMade: _recall_inbox,
        facts.InboxGone: _recall_gone,
        facts.Accepted: _recall_accepted,
        facts.Acked: _recall_acked,
        facts.Ended: _recall_ended,
        facts.Failed: _recall_failed,
        facts.Rewritten: _recall_rewritten,
        facts.Told: _recall_told,
        facts.Noted: _recall_noted,
        facts.Answered: _recall_answered,
        facts.QuestionClosed: _recall_closed,
        facts.Claimed: _recall_claimed,
        facts.Abandoned: _recall_abandoned,
        facts.Registered: _recall_registered,
        facts.Deregistered: _recall_deregistered,
        facts.WholeInbox: _recall_whole_inbox,
        facts.WholeSender: _recall_sender,
        facts.WholeRest: _recall_rest,
    }

    # --- all of it, part by part ------------------------------------------------------------

    def _pieces(self) -> Iterator[Piece]:
        """Each inbox, then the rest, which names inboxes, then all keys, which name agents, too.

        A part is looked at when its turn has come; one that is gone by then is passed over.
        """
        for inbox in list(self._own_inboxes.values()):
            if self._inboxes.get(inbox.agent_id) is inbox:
                yield inbox.whole(), inbox.weight
        rest = self._rest()
        yield rest, len(rest.agents) * BYTES_OF_AN_AGENT
        for sender in self._claims.senders():
            keys = [_key(*claimed) for claimed in self._claims.of_sender(sender).items()]
            yield facts.WholeSender(sender, keys), len(keys) * BYTES_OF_A_KEY

    def _rest(self) -> facts.WholeRest:
        seconds = self._limits.abandoned_wait_seconds
        return facts.WholeRest(
            agents=list(self._agents.values()),
            endings=list(self._endings.all()),
            told=list(self._endings.told),
            questions=[(one, *question) for one, question in self._questions.items()],
            abandoned=[
                facts.Abandoned(*question, claim.message_id, claim.forget_at - seconds)
                for question, claim in self._claims.abandoned().items()
            ],
        )


def _key(named: tuple[str, str], claim: Claim) -> facts.KeyOf:
    receipt = claim.receipt
    return facts.KeyOf(
        *named,
        claim.fingerprint,
        claim.message_id,
        claim.forget_at,
        None if receipt is None else (receipt.seq, receipt.epoch, receipt.expires_at),
    )

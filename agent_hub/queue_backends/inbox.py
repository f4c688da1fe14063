"""One inbox in memory: every state a message can be in, and the moves between them.

ready -> leased -> kept -> settled -> forgotten
  ^---------'                ^
  '-- expired, dead, dropped-'
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from sys import intern

from msgspec.structs import replace

from agent_hub.core.limits import Limits
from agent_hub.core.mail import (
    Acked,
    Backlog,
    Page,
    Standing,
    State,
    Submission,
    Undelivered,
    Wait,
    WaitState,
)
from agent_hub.core.message import HUB, Cursor, Delivery, Message, new_message_id
from agent_hub.core.notice import Notice
from agent_hub.queue_backends import facts
from agent_hub.queue_backends.journal import Journal
from agent_hub.queue_backends.leases import Leases
from agent_hub.queue_backends.pending_notices import PendingNotices
from agent_hub.queue_backends.places import Places
from agent_hub.queue_backends.ready import Ready
from agent_hub.queue_backends.remembered import Remembered
from agent_hub.queue_backends.states import NEVER, Held, Past, Settled, standing_of
from agent_hub.queue_backends.waits import OpenWait, Waits


class Inbox:
    """The queue of one agent. Not one of its methods awaits: each is one transition.

    `now` parameters are wall time, `monotonic` ones monotonic time. `ended` is told what ended
    without an ack, `forgotten` which message ids nothing is known of any more, `wake` that there
    is something to lease, `answered` which question has its answer.
    """

    def __init__(
        self,
        agent_id: str,
        limits: Limits,
        *,
        journal: Journal,
        ended: Callable[[Undelivered], None],
        forgotten: Callable[[str, str], None],
        wake: Callable[[str], None],
        answered: Callable[[str], None],
    ) -> None:
        self.agent_id = agent_id
        self.epoch = secrets.token_hex(8)
        self.waits = Waits(agent_id, limits)
        self._limits = limits
        self._journal = journal
        self._ended = ended
        self._notify = wake
        self._answered = answered
        self._places = Places(agent_id, limits)
        self._leases = Leases()
        self._remembered = Remembered(agent_id, limits, forgotten)
        self._notices = PendingNotices(limits)
        self._last_seq = 0
        self._ready = Ready()
        self._reserved = 0  # on their way in
        self._making_way: list[Message] = []  # for one of those: owed until that is there

    # --- in -------------------------------------------------------------------------------

    def reserve(self, submission: Submission) -> list[Message]:
        """Keep a place for a message. Raises InboxFull or SenderShare, and has changed nothing.

        Returns what makes way for it, in nobody's sight until `publish` or `withdraw`.
        """
        sender, size = submission.draft.sender, submission.draft.size
        victims = self._places.make_room(sender, size, self._ready)
        for victim in victims:
            self._ready.remove(victim)
            self._places.give_back(victim.sender, victim.size)
            self._making_way.append(victim)
        self._places.take(sender, size)
        self._reserved += 1
        return victims

    def number(self, submission: Submission, now: float) -> Message:
        """The message that takes the reserved place, with the next seq."""
        draft = submission.draft
        self._last_seq += 1
        return Message(
            submission.message_id,
            self._last_seq,
            intern(draft.sender),  # one name for all that a sender has queued, not one for each
            self.agent_id,
            intern(draft.type),
            draft.text,
            draft.payload,
            draft.reply_to,
            draft.traceparent,
            submission.broadcast,
            now,
            submission.ttl,
        )

    def publish(
        self, message: Message, submission: Submission, victims: Sequence[Message], now: float
    ) -> None:
        """Let a numbered message be seen: by the wait that it answers, else by all readers."""
        self._reserved -= 1
        for victim in victims:
            self._making_way.remove(victim)
            self._places.take(victim.sender, victim.size)
            self._end(victim, State.DROPPED, now)
        wait = self.waits.match(message, submission) if self.waits.open else None
        if wait is None:
            self._ready.append(message)
            self._notify(self.agent_id)
        else:
            self._answer(wait, message, now)

    def withdraw(self, message: Message, victims: Sequence[Message]) -> None:
        """Give back the seq and the place of the message that was numbered last."""
        self._reserved -= 1
        self._last_seq -= 1
        self._places.give_back(message.sender, message.size)
        for victim in victims:
            self._making_way.remove(victim)
            self._places.take(victim.sender, victim.size)
            self._ready.put_back(victim)

    # --- out ------------------------------------------------------------------------------

    def lease(
        self,
        lease_id: str,
        limit: int,
        max_bytes: int,
        now: float,
        runs_out: float,
        *,
        is_manual: bool,
    ) -> list[Delivery]:
        """Hand ready messages to a lease; the same lease again shows what it still holds."""
        if self._leases.has(lease_id):
            return [self._delivery(held) for held in self._leases.of(lease_id)]
        taken = self._ready.take(limit, max_bytes)
        if not taken:
            return []
        held = [self._hold(message, lease_id, now, runs_out, is_manual) for message in taken]
        self._leases.begin(lease_id, held, runs_out)
        return [self._delivery(one) for one in held]

    def _hold(
        self,
        message: Message,
        lease_id: str,
        now: float,
        runs_out: float,
        is_manual: bool = False,
    ) -> Held:
        past = self._ready.pop_past(message)
        self._notices.close(message)
        attempt = past.attempts + 1
        return Held(message, lease_id, now, attempt, past.failures, runs_out, is_manual)

    def _delivery(self, held: Held) -> Delivery:
        return Delivery(held.message, self.epoch, held.attempt)

    def ack(self, message_ids: Iterable[str], now: float) -> list[Acked]:
        """Settle what is owed of these, leased or (a late ack) ready again."""
        acked: list[Acked] = []
        late: set[str] = set()
        for message_id in message_ids:
            held = self._leases.get(message_id)
            if held is not None:
                self._leases.drop(held)
                self._settle_wait(held)
                acked.append(self._keep(held.message, held.attempt, now))
            elif message_id not in self._remembered:
                late.add(message_id)
        if late:
            acked += self._ack_ready(late, now)
        return acked

    def _ack_ready(self, message_ids: set[str], now: float) -> list[Acked]:
        """For readers whose lease ran out, or who only looked."""
        return [
            self._keep(message, self._ready.pop_past(message).attempts, now)
            for message in self._ready.remove_all(message_ids)
        ]

    def _settle_wait(self, held: Held) -> None:
        wait = self.waits.open.get(held.lease_id)
        if wait is not None:
            wait.settled = True

    def _keep(self, message: Message, attempt: int, now: float) -> Acked:
        self._places.give_back(message.sender, message.size)
        self._notices.close(message)
        self._remembered.keep(message, attempt, now)
        self._journal.note(facts.Acked(self.agent_id, message.id, attempt, now))
        return Acked(message.id, message.accepted_at)

    def release(
        self, lease_id: str, message_ids: Sequence[str] | None, now: float, *, failure: bool
    ) -> int:
        """Give back what this lease holds of these; what answers a wait goes by `close_wait`."""
        if lease_id in self.waits.open:
            return 0
        if message_ids is None:
            released = self._leases.of(lease_id)
        else:
            released = self._leases.held_by(lease_id, message_ids)
        for held in released:
            self._give_back(held, now, failure=failure)
        if released:
            self._notify(self.agent_id)
        return len(released)

    def give_back_the_stream(self, now: float) -> None:
        """What the stream of this inbox holds is ready again: the leases that never run out."""
        for lease_id in self._leases.that_never_run_out():
            self.release(lease_id, None, now, failure=False)

    def _give_back(self, held: Held, now: float, *, failure: bool) -> None:
        self._leases.drop(held)
        message, failures = held.message, held.failures + failure
        if failures > self._limits.failures:
            self._end(message, State.DEAD, now, attempts=held.attempt)
        elif message.expires_at <= now:
            self._end(message, State.EXPIRED, now, attempts=held.attempt)
        else:
            past = Past(held.attempt, failures)
            self._ready.put_back(message, past)
            if failure:
                self._journal.note(facts.Failed(self.agent_id, message.id, past))

    def extend(self, lease_id: str, message_ids: Sequence[str], runs_out: float) -> int:
        """Move the end of a manual lease for what it holds of these."""
        extended = [h for h in self._leases.held_by(lease_id, message_ids) if h.is_manual]
        for held in extended:
            self._leases.extend(held, runs_out)
        return len(extended)

    # --- to look at -----------------------------------------------------------------------

    def look(self, since: Cursor | None, limit: int) -> Page:
        """Ready and leased, and the kept ones newer than `since`."""
        shown = [self._ready_delivery(message) for message in self._ready]
        shown += [self._delivery(held) for held in self._leases.all()]
        if since is not None:
            shown += self._kept_after(since)
        page = self._page(shown, since, limit)
        page.ready = len(self._ready)
        return page

    def kept(self, since: Cursor, limit: int) -> Page:
        """Only the kept ones newer than `since`."""
        return self._page(self._kept_after(since), since, limit)

    def _ready_delivery(self, message: Message) -> Delivery:
        return Delivery(message, self.epoch, self._ready.past(message).attempts, State.READY)

    def _kept_after(self, since: Cursor) -> list[Delivery]:
        newest_seen = since.seq if since.epoch == self.epoch else 0
        return [
            Delivery(kept.message, self.epoch, kept.attempt, State.ACKED)
            for kept in self._remembered.kept_after(newest_seen)
        ]

    def _page(self, shown: list[Delivery], since: Cursor | None, limit: int) -> Page:
        shown.sort(key=lambda delivery: delivery.message.seq)
        page = shown[:limit]
        cursor = page[-1].cursor if page else Cursor(self.epoch, self._last_seq)
        return Page(
            deliveries=page, total=len(shown), cursor=cursor, recovered=self._recovers(since)
        )

    def _recovers(self, since: Cursor | None) -> bool:
        return (
            since is not None
            and since.epoch == self.epoch
            and self._remembered.gap_through <= since.seq <= self._last_seq
        )

    def standing(self, message_id: str) -> Standing | None:
        """Where a message stands here; None when nothing is known of it."""
        if held := self._leases.get(message_id):
            return standing_of(held.message, State.LEASED, held.since, held.attempt)
        if known := self._remembered.standing(message_id):
            return known
        if message := self._ready.get(message_id) or self._on_its_way_out(message_id):
            attempts = self._ready.past(message).attempts
            return standing_of(message, State.READY, message.accepted_at, attempts)
        return None

    def find(self, message_id: str) -> Message | Settled | None:
        """What is still known here of a message."""
        if held := self._leases.get(message_id):
            return held.message
        known = self._remembered.find(message_id) or self._ready.get(message_id)
        return known or self._on_its_way_out(message_id)

    def _on_its_way_out(self, message_id: str) -> Message | None:
        """What makes way is owed until that for which it does is there."""
        return next((one for one in self._making_way if one.id == message_id), None)

    # --- waits ----------------------------------------------------------------------------

    def open_wait(
        self, question_id: str, asked: str, now: float, *, since: float, deadline: float
    ) -> Wait:
        """Reserve the reply to a question; one that came while no wait stood is taken now."""
        answered = self.waits.answered(question_id) or self._read_already(question_id, asked, now)
        if answered is not None:
            return answered
        wait = self.waits.begin(question_id, asked, since, deadline)
        if wait.state is WaitState.PENDING:
            for message in self._ready:
                if message.reply_to == question_id and message.sender == asked:
                    self._ready.remove(message)
                    wait.state = WaitState.REPLIED
                    self._answer(wait, message, now)
                    break
        return wait.view()

    def _read_already(self, question_id: str, asked: str, now: float) -> Wait | None:
        """A reply that was acked as ordinary mail while no wait stood answers all the same."""
        replies = [
            kept
            for kept in self._remembered.kept.values()
            if kept.message.reply_to == question_id and kept.message.sender == asked
        ]
        if not replies or question_id in self.waits.open:
            return None
        first = min(replies, key=lambda kept: kept.message.seq)
        delivery = Delivery(first.message, self.epoch, first.attempt, State.ACKED)
        answer = self.waits.remember(question_id, delivery, now)
        self._note_answer(question_id)
        return answer

    def _note_answer(self, question_id: str) -> None:
        """It can be given again after a restart, too."""
        answer = self.waits.answers[question_id]
        self._journal.note(facts.Answered(self.agent_id, *answer))

    def _answer(self, wait: OpenWait, message: Message, now: float) -> None:
        held = self._hold(message, wait.question_id, now, NEVER)
        self._leases.begin(wait.question_id, [held], NEVER)
        wait.delivery = self._delivery(held)
        self._answered(wait.question_id)

    def wait(self, question_id: str) -> Wait | None:
        wait = self.waits.open.get(question_id)
        return self.waits.answered(question_id) if wait is None else wait.view()

    def close_wait(self, question_id: str, now: float, *, keep: bool) -> None:
        """End a wait; its answer is ready again unless it was acked."""
        wait = self.waits.close(question_id, now, keep=keep)
        if question_id in self.waits.answers and wait is not None:
            self._note_answer(question_id)
        if wait is not None and wait.delivery is not None and not wait.settled:
            self.release(question_id, None, now, failure=False)

    # --- endings --------------------------------------------------------------------------

    def _end(self, message: Message, state: State, now: float, attempts: int = 0) -> None:
        """A message ends without an ack."""
        attempts = self._ready.pop_past(message).attempts or attempts
        self._journal.note(facts.Ended(self.agent_id, message.id, state, attempts, now))
        self._places.give_back(message.sender, message.size)
        self._notices.close(message)
        self._remembered.settle(message, state, now, attempts, now)
        self._ended(
            Undelivered(
                message_id=message.id,
                sender=message.sender,
                recipient=self.agent_id,
                state=state,
                notify=not message.broadcast and message.sender != HUB,
            )
        )

    def come_due(self, now: float, monotonic: float) -> None:
        """Do what time has brought: manual leases run out, messages expire."""
        if monotonic >= self._leases.earliest_end:
            self._remembered.forget_old(now)  # what was over before, as when a journal is read
            self._run_out(now, monotonic)
        if now >= self._remembered.due_at:
            self._remembered.forget_old(now)
        if now >= self._ready.earliest_expiry:
            for message in self._ready.expire(now):
                self._end(message, State.EXPIRED, now)
        if self.waits.open or self.waits.answers:
            for question_id in self.waits.come_due(now, monotonic):
                self.close_wait(question_id, now, keep=False)

    def _run_out(self, now: float, monotonic: float) -> None:
        over = self._leases.run_out(monotonic)
        for held in over:
            self._give_back(held, now, failure=held.is_manual)
        if over:
            self._notify(self.agent_id)

    # --- notices --------------------------------------------------------------------------

    def notice(self, ended: Undelivered) -> Notice | None:
        """Tell this agent, a sender, of one ending; a notice if one has to be posted for it.

        With all places for notices taken nothing is told: the standing still says it.
        """
        if ended.recipient in self._notices:
            grown = self._notices.add(ended)
            if grown is not None:
                self._rewrite(*grown)
            return None
        if not self._places.has_room_for_a_notice:
            return None
        self._places.take(HUB, 0)
        self._reserved += 1
        return self._notices.new(ended)

    def number_notice(self, notice: Notice, now: float) -> Message:
        """The message that carries a notice, with the next seq."""
        self._last_seq += 1
        ttl = self._limits.notice_ttl
        return notice.message(new_message_id(), self._last_seq, self.agent_id, now, ttl)

    def publish_notice(self, message: Message, notice: Notice) -> None:
        """Let it be read; until then it grows."""
        self._reserved -= 1
        self._notices.open(message, notice)
        self._ready.append(message)
        self._notify(self.agent_id)

    def _rewrite(self, message_id: str, notice: Notice) -> None:
        if message := self._ready.get(message_id):
            self._ready.rewrite(replace(message, text=notice.text, payload=notice.payload))
            self._journal.note(
                facts.Rewritten(self.agent_id, message_id, notice.text, notice.payload)
            )

    # --- sums -----------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Nothing owed or on its way, nothing kept, nobody waiting."""
        is_owed = self._reserved or self._ready or len(self._leases)
        is_asking = self.waits.open or self.waits.answers
        return not (is_owed or self._remembered.kept or is_asking)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Ready, leased and kept messages."""
        ready = len(self._ready) + len(self._making_way)
        return ready, len(self._leases), len(self._remembered.kept)

    @property
    def oldest_ready_at(self) -> float | None:
        return self._ready.oldest_at

    @property
    def backlog(self) -> Backlog:
        ready, leased, _ = self.counts
        return Backlog(
            agent_id=self.agent_id,
            ready=ready,
            leased=leased,
            bytes=self._places.bytes,
            oldest_at=self.oldest_ready_at,
        )

    def known_ids(self) -> list[str]:
        """Every message id that something is still known of here."""
        return [
            *(message.id for message in self._ready),
            *self._leases.all_ids(),
            *self._remembered.ids(),
        ]

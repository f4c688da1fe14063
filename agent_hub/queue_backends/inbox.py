"""One inbox in memory: every state a message can be in, and the moves between them.

ready -> leased -> kept -> settled -> forgotten
  ^---------'                ^
  '-- expired, dead, dropped-'
"""

from __future__ import annotations

import secrets
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from sys import intern

from msgspec.structs import replace

from agent_hub.core.errors import InboxFull, SenderShare
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
from agent_hub.core.message import HUB, UNDELIVERED, Cursor, Delivery, Message, new_message_id
from agent_hub.core.notice import Notice
from agent_hub.queue_backends import facts
from agent_hub.queue_backends.journal import Journal
from agent_hub.queue_backends.states import NEVER, Held, Kept, Past, Settled
from agent_hub.queue_backends.waits import OpenWait, Waits

RETRY_FULL_SECONDS = 1.0
BYTES_OF_A_MESSAGE = 150
"""Written, beside its content."""
NO_PAST = Past(0, 0)
LOST_HOLDER = ""
"""The lease of all that was owed when another process ended."""


def _seq(message: Message) -> int:
    return message.seq


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
        forgotten: Callable[[str, Inbox], None],
        wake: Callable[[str], None],
        answered: Callable[[str], None],
    ) -> None:
        self.agent_id = agent_id
        self.epoch = secrets.token_hex(8)
        self.waits = Waits(agent_id, limits)
        self._limits = limits
        self._journal = journal
        self._ended = ended
        self._forgotten = forgotten
        self._notify = wake
        self._answered = answered
        self._last_seq = 0
        self._gap_through = 0  # the newest seq that is lost, or no longer kept
        self._ready: list[Message] = []  # by seq
        self._past: dict[str, Past] = {}
        self._leased: dict[str, Held] = {}
        self._leases: dict[str, list[str]] = {}
        self._kept: dict[str, Kept] = {}  # by the time of the ack
        self._settled: dict[str, Settled] = {}  # by the time of settling
        self._reserved = 0  # on their way in
        self._making_way = 0  # for one of those, but not dropped before it is there
        self._owed = 0
        self._owed_bytes = 0
        self._owed_by_sender: dict[str, int] = {}
        self._notices: dict[str, tuple[str, Notice]] = {}  # recipient -> (message id, content)
        self._notice_count = 0
        self._earliest_expiry = NEVER  # a lower bound
        self._earliest_run_out = NEVER  # a lower bound

    # --- in -------------------------------------------------------------------------------

    def reserve(self, submission: Submission) -> list[Message]:
        """Keep a place for a message. Raises InboxFull or SenderShare, and has changed nothing.

        Returns what makes way for it, in nobody's sight until `publish` or `withdraw`.
        """
        sender, size = submission.draft.sender, submission.draft.size
        victims = self._make_room(sender, size)
        for victim in victims:
            self._ready.remove(victim)
            self._count(victim.sender, victim.size, -1)
            self._making_way += 1
        self._count(sender, size, 1)
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
            self._making_way -= 1
            self._count(victim.sender, victim.size, 1)
            self._end(victim, State.DROPPED, now)
        if message.expires_at < self._earliest_expiry:
            self._earliest_expiry = message.expires_at
        wait = self.waits.match(message, submission)
        if wait is None:
            self._ready.append(message)
            self._notify(self.agent_id)
        else:
            self._answer(wait, message, now)

    def withdraw(self, message: Message, victims: Sequence[Message]) -> None:
        """Give back the seq and the place of the message that was numbered last."""
        self._reserved -= 1
        self._last_seq -= 1
        self._count(message.sender, message.size, -1)
        for victim in victims:
            self._making_way -= 1
            self._count(victim.sender, victim.size, 1)
            insort(self._ready, victim, key=_seq)

    def _make_room(self, sender: str, size: int) -> list[Message]:
        """Refuse what does not fit, or say what is to be dropped for it."""
        limits = self._limits
        places = limits.inbox_messages - self._owed
        room = limits.inbox_bytes - self._owed_bytes
        share = self._owed_by_sender.get(sender, 0)
        if places > share and room >= size:
            return []
        victims = self._victims(sender, size, places, room, share) if limits.drop_oldest else []
        if not victims:
            raise self._refusal(sender, is_full=places <= 0 or room < size)
        return victims

    def _victims(self, sender: str, size: int, places: int, room: int, share: int) -> list[Message]:
        """The fewest that must go, the sender's own first: a flood hits itself.

        None at all when the message would not fit even then: a refusal changes nothing.
        """
        mail = [message for message in self._ready if message.sender != HUB]
        mail.sort(key=lambda message: message.sender != sender)  # stable: the oldest first
        for count, message in enumerate(mail, start=1):
            places += 1
            room += message.size
            share -= message.sender == sender
            if places > share and room >= size:
                return mail[:count]
        return []

    def _refusal(self, sender: str, *, is_full: bool) -> InboxFull | SenderShare:
        if is_full:
            return InboxFull(
                f"the inbox of {self.agent_id} is full", retry_after=RETRY_FULL_SECONDS
            )
        return SenderShare(
            f"{sender} has as many unread messages in the inbox of {self.agent_id} "
            f"as it has places left",
            retry_after=RETRY_FULL_SECONDS,
        )

    def _count(self, sender: str, size: int, step: int) -> None:
        """Keep the sums of what is owed; the hub's notices are outside all limits."""
        if sender == HUB:
            self._notice_count += step
            return
        self._owed += step
        self._owed_bytes += step * size
        owed = self._owed_by_sender
        count = owed.get(sender, 0) + step
        if count:
            owed[sender] = count
        else:
            del owed[sender]

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
        if lease_id in self._leases:
            return [self._delivery(self._leased[held]) for held in self._leases[lease_id]]
        taken = self._fitting(limit, max_bytes)
        if not taken:
            return []
        del self._ready[: len(taken)]
        self._leases[lease_id] = [message.id for message in taken]
        self._earliest_run_out = min(self._earliest_run_out, runs_out)
        held = [self._hold(message, lease_id, now, runs_out, is_manual) for message in taken]
        return [self._delivery(one) for one in held]

    def _fitting(self, limit: int, max_bytes: int) -> list[Message]:
        taken = self._ready[:limit]
        for count, message in enumerate(taken):
            max_bytes -= message.size
            if max_bytes < 0 and count:
                return taken[:count]
        return taken

    def _hold(
        self,
        message: Message,
        lease_id: str,
        now: float,
        runs_out: float,
        is_manual: bool = False,
    ) -> Held:
        past = self._past.pop(message.id, None) if self._past else None
        attempts, failures = (past.attempts, past.failures) if past else (0, 0)
        held = Held(message, lease_id, now, attempts + 1, failures, runs_out, is_manual)
        self._leased[message.id] = held
        self._close_notice(message)
        return held

    def _delivery(self, held: Held) -> Delivery:
        return Delivery(held.message, self.epoch, held.attempt)

    def ack(self, message_ids: Iterable[str], now: float) -> list[Acked]:
        """Settle what is owed of these, leased or (a late ack) ready again."""
        acked: list[Acked] = []
        late: set[str] = set()
        for message_id in message_ids:
            held = self._leased.get(message_id)
            if held is not None:
                self._drop_lease(held)
                self._settle_wait(held)
                acked.append(self._keep(held.message, held.attempt, now))
            elif message_id not in self._kept and message_id not in self._settled:
                late.add(message_id)
        if late:
            acked += self._ack_ready(late, now)
        return acked

    def _ack_ready(self, message_ids: set[str], now: float) -> list[Acked]:
        """For readers whose lease ran out, or who only looked."""
        acked: list[Acked] = []
        for message in [m for m in self._ready if m.id in message_ids]:
            self._ready.remove(message)
            past = self._past.pop(message.id, None)
            acked.append(self._keep(message, past.attempts if past else 0, now))
        return acked

    def _settle_wait(self, held: Held) -> None:
        wait = self.waits.get(held.lease_id)
        if wait is not None:
            wait.settled = True

    def _keep(self, message: Message, attempt: int, now: float) -> Acked:
        self._count(message.sender, message.size, -1)
        self._close_notice(message)
        self._kept[message.id] = Kept(message, attempt, now)
        self._journal.note(facts.Acked(self.agent_id, message.id, attempt, now))
        # While it was leased, nobody waited for its expiry.
        self._earliest_expiry = min(self._earliest_expiry, message.expires_at)
        if len(self._kept) > self._limits.kept_messages:
            self._unkeep(next(iter(self._kept)), now)
        return Acked(message.id, message.accepted_at)

    def _unkeep(self, message_id: str, now: float) -> None:
        kept = self._kept.pop(message_id)
        self._gap_through = max(self._gap_through, kept.message.seq)
        self._settle(kept.message, State.ACKED, kept.acked_at, kept.attempt, now)

    def _drop_lease(self, held: Held) -> None:
        """Take a message out of its lease."""
        message_id = held.message.id
        del self._leased[message_id]
        lease = self._leases[held.lease_id]
        lease.remove(message_id)
        if not lease:
            del self._leases[held.lease_id]

    def release(
        self, lease_id: str, message_ids: Sequence[str] | None, now: float, *, failure: bool
    ) -> int:
        """Give back what this lease holds of these; what answers a wait goes by `close_wait`."""
        if lease_id in self.waits:
            return 0
        released = self._held_by(lease_id, message_ids)
        for held in released:
            self._give_back(held, now, failure=failure)
        if released:
            self._notify(self.agent_id)
        return len(released)

    def give_back_the_stream(self, now: float) -> None:
        """What the stream of this inbox holds is ready again: the leases that never run out."""
        for lease_id, held in list(self._leases.items()):
            if self._leased[held[0]].runs_out == NEVER:
                self.release(lease_id, None, now, failure=False)

    def _held_by(self, lease_id: str, message_ids: Sequence[str] | None) -> list[Held]:
        """What this lease holds of these; of None, all."""
        wanted = dict.fromkeys(
            self._leases.get(lease_id, ()) if message_ids is None else message_ids
        )
        held = (self._leased.get(message_id) for message_id in wanted)
        return [one for one in held if one is not None and one.lease_id == lease_id]

    def _give_back(self, held: Held, now: float, *, failure: bool) -> None:
        self._drop_lease(held)
        message, failures = held.message, held.failures + failure
        if failures > self._limits.failures:
            self._end(message, State.DEAD, now, attempts=held.attempt)
        elif message.expires_at <= now:
            self._end(message, State.EXPIRED, now, attempts=held.attempt)
        else:
            insort(self._ready, message, key=_seq)
            past = self._past[message.id] = Past(held.attempt, failures)
            if failure:
                self._journal.note(facts.Failed(self.agent_id, message.id, past))
            self._earliest_expiry = min(self._earliest_expiry, message.expires_at)

    def extend(self, lease_id: str, message_ids: Sequence[str], runs_out: float) -> int:
        """Move the end of a manual lease for what it holds of these."""
        extended = [h for h in self._held_by(lease_id, message_ids) if h.is_manual]
        for held in extended:
            held.runs_out = runs_out
            self._earliest_run_out = min(self._earliest_run_out, runs_out)
        return len(extended)

    # --- to look at -----------------------------------------------------------------------

    def look(self, since: Cursor | None, limit: int) -> Page:
        """Ready and leased, and the kept ones newer than `since`."""
        shown = [self._ready_delivery(message) for message in self._ready]
        shown += [self._delivery(held) for held in self._leased.values()]
        if since is not None:
            shown += self._kept_after(since)
        page = self._page(shown, since, limit)
        page.ready = len(self._ready)
        return page

    def kept(self, since: Cursor, limit: int) -> Page:
        """Only the kept ones newer than `since`."""
        return self._page(self._kept_after(since), since, limit)

    def _ready_delivery(self, message: Message) -> Delivery:
        past = self._past.get(message.id)
        return Delivery(message, self.epoch, past.attempts if past else 0, State.READY)

    def _kept_after(self, since: Cursor) -> list[Delivery]:
        newest_seen = since.seq if since.epoch == self.epoch else 0
        return [
            Delivery(kept.message, self.epoch, kept.attempt, State.ACKED)
            for kept in self._kept.values()
            if kept.message.seq > newest_seen
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
            and self._gap_through <= since.seq <= self._last_seq
        )

    def standing(self, message_id: str) -> Standing | None:
        """Where a message stands here; None when nothing is known of it."""
        if held := self._leased.get(message_id):
            return self._standing(held.message, State.LEASED, held.since, held.attempt)
        if kept := self._kept.get(message_id):
            return self._standing(kept.message, State.ACKED, kept.acked_at, kept.attempt)
        if settled := self._settled.get(message_id):
            return Standing(
                recipient=self.agent_id,
                state=settled.state,
                since=settled.since,
                accepted_at=settled.accepted_at,
                expires_at=settled.expires_at,
                attempts=settled.attempts,
            )
        for message in self._ready:
            if message.id == message_id:
                past = self._past.get(message_id)
                attempts = past.attempts if past else 0
                return self._standing(message, State.READY, message.accepted_at, attempts)
        return None

    def _standing(self, message: Message, state: State, since: float, attempts: int) -> Standing:
        return Standing(
            recipient=self.agent_id,
            state=state,
            since=since,
            accepted_at=message.accepted_at,
            expires_at=message.expires_at,
            attempts=attempts,
        )

    def find(self, message_id: str) -> Message | Settled | None:
        """What is still known here of a message."""
        if held := self._leased.get(message_id):
            return held.message
        if kept := self._kept.get(message_id):
            return kept.message
        return self._settled.get(message_id) or next(
            (message for message in self._ready if message.id == message_id), None
        )

    # --- waits ----------------------------------------------------------------------------

    def open_wait(
        self, question_id: str, asked: str, now: float, *, since: float, deadline: float
    ) -> Wait:
        """Reserve the reply to a question; one that came while no wait stood is taken now."""
        answered = self.waits.answered(question_id) or self._read_already(question_id, asked, now)
        if answered is not None:
            return answered
        wait = self.waits.open(question_id, asked, since, deadline)
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
            for kept in self._kept.values()
            if kept.message.reply_to == question_id and kept.message.sender == asked
        ]
        if not replies or question_id in self.waits:
            return None
        first = min(replies, key=lambda kept: kept.message.seq)
        delivery = Delivery(first.message, self.epoch, first.attempt, State.ACKED)
        return self.waits.remember(question_id, delivery, now)

    def _answer(self, wait: OpenWait, message: Message, now: float) -> None:
        held = self._hold(message, wait.question_id, now, NEVER)
        self._leases[wait.question_id] = [message.id]
        wait.delivery = self._delivery(held)
        self._answered(wait.question_id)

    def wait(self, question_id: str) -> Wait | None:
        wait = self.waits.get(question_id)
        return self.waits.answered(question_id) if wait is None else wait.view()

    def close_wait(self, question_id: str, now: float, *, keep: bool) -> None:
        """End a wait; its answer is ready again unless it was acked."""
        wait = self.waits.close(question_id, now, keep=keep)
        if question_id in (answered := self.waits.all_answered) and wait is not None:
            self._journal.note(facts.Answered(self.agent_id, *answered[question_id]))
        if wait is not None and wait.delivery is not None and not wait.settled:
            self.release(question_id, None, now, failure=False)

    # --- endings --------------------------------------------------------------------------

    def _end(self, message: Message, state: State, now: float, attempts: int = 0) -> None:
        """A message ends without an ack."""
        past = self._past.pop(message.id, None)
        attempts = past.attempts if past else attempts
        self._journal.note(facts.Ended(self.agent_id, message.id, state, attempts, now))
        self._count(message.sender, message.size, -1)
        self._close_notice(message)
        self._gap_through = max(self._gap_through, message.seq)
        self._settle(message, state, now, attempts, now)
        self._ended(
            Undelivered(
                message_id=message.id,
                sender=message.sender,
                recipient=self.agent_id,
                state=state,
                notify=not message.broadcast and message.sender != HUB,
            )
        )

    def _settle(
        self, message: Message, state: State, since: float, attempts: int, now: float
    ) -> None:
        limits = self._limits
        forget_at = now + limits.settled_seconds
        self._settled[message.id] = Settled(
            message.seq,
            message.sender,
            state,
            since,
            message.accepted_at,
            message.expires_at,
            attempts,
            forget_at,
        )
        self._earliest_expiry = min(self._earliest_expiry, forget_at)
        if len(self._settled) > limits.settled_messages:
            self._forget(next(iter(self._settled)))

    def _forget(self, message_id: str) -> None:
        del self._settled[message_id]
        self._forgotten(message_id, self)

    def come_due(self, now: float, monotonic: float) -> None:
        """Do what time has brought: manual leases run out, messages expire."""
        if monotonic >= self._earliest_run_out:
            self._forget_old(now)  # first what was over before, as when a journal is read
            self._run_out(now, monotonic)
        if now >= self._earliest_expiry:
            self._expire(now)
        if len(self.waits):
            for question_id in self.waits.come_due(now, monotonic):
                self.close_wait(question_id, now, keep=False)

    def _run_out(self, now: float, monotonic: float) -> None:
        over = [held for held in self._leased.values() if held.runs_out <= monotonic]
        for held in over:
            self._give_back(held, now, failure=held.is_manual)
        self._earliest_run_out = min((h.runs_out for h in self._leased.values()), default=NEVER)
        if over:
            self._notify(self.agent_id)

    def _expire(self, now: float) -> None:
        self._forget_old(now)
        expired = [message for message in self._ready if message.expires_at <= now]
        if expired:
            self._ready = [message for message in self._ready if message.expires_at > now]
        for message in expired:
            self._end(message, State.EXPIRED, now)
        self._earliest_expiry = self._next_expiry()

    def _forget_old(self, now: float) -> None:
        """What is kept or remembered goes when its time is over.

        In the order of time, not of looking: read from a journal, it comes to the same.
        """
        over = [kept.message for kept in self._kept.values() if kept.message.expires_at <= now]
        over.sort(key=lambda message: message.expires_at)
        for message in over:
            self._unkeep(message.id, message.expires_at)
        while self._settled and next(iter(self._settled.values())).forget_at <= now:
            self._forget(next(iter(self._settled)))

    def _next_expiry(self) -> float:
        times = [message.expires_at for message in self._ready]
        times += [kept.message.expires_at for kept in self._kept.values()]
        times += [settled.forget_at for settled in islice(self._settled.values(), 1)]
        return min(times, default=NEVER)

    # --- notices --------------------------------------------------------------------------

    def notice(self, ended: Undelivered) -> Notice | None:
        """Tell this agent, a sender, of one ending; a notice if one has to be posted for it.

        With all places for notices taken nothing is told: the standing still says it.
        """
        pending = self._notices.get(ended.recipient)
        if pending is not None:
            message_id, notice = pending
            if notice.add(ended, self._limits.ids_per_notice):
                self._rewrite(message_id, notice)
            return None
        if self._notice_count >= self._limits.notices_per_inbox:
            return None
        notice = Notice.about(ended.recipient)
        notice.add(ended, self._limits.ids_per_notice)
        self._count(HUB, 0, 1)
        self._reserved += 1
        return notice

    def number_notice(self, notice: Notice, now: float) -> Message:
        """The message that carries a notice, with the next seq."""
        self._last_seq += 1
        ttl = self._limits.notice_ttl
        return notice.message(new_message_id(), self._last_seq, self.agent_id, now, ttl)

    def publish_notice(self, message: Message, notice: Notice) -> None:
        """Let it be read; until then it grows."""
        self._reserved -= 1
        self._notices[notice.recipient] = (message.id, notice)
        self._earliest_expiry = min(self._earliest_expiry, message.expires_at)
        self._ready.append(message)
        self._notify(self.agent_id)

    def _rewrite(self, message_id: str, notice: Notice) -> None:
        for place, message in enumerate(self._ready):
            if message.id == message_id:
                self._ready[place] = replace(message, text=notice.text, payload=notice.payload)
                self._journal.note(
                    facts.Rewritten(self.agent_id, message_id, notice.text, notice.payload)
                )
                return

    def _close_notice(self, message: Message) -> None:
        """What has been handed out, or is gone, is not written to any more."""
        if message.type == UNDELIVERED:
            self._notices = {
                recipient: pending
                for recipient, pending in self._notices.items()
                if pending[0] != message.id
            }

    # --- to begin again where another process ended ------------------------------------------

    def whole(self) -> facts.WholeInbox:
        """All of it that outlives the process."""
        owed = [(message, self._past.get(message.id, NO_PAST)) for message in self._ready]
        owed += [
            (held.message, Past(held.attempt, held.failures)) for held in self._leased.values()
        ]
        owed.sort(key=lambda one: one[0].seq)
        return facts.WholeInbox(
            agent_id=self.agent_id,
            epoch=self.epoch,
            last_seq=self._last_seq,
            gap_through=self._gap_through,
            owed=owed,
            kept=list(self._kept.values()),
            settled=self._settled,
            answered=self.waits.all_answered,
        )

    @property
    def weight(self) -> int:
        """About how many bytes the whole of it has, written."""
        kept = sum(kept.message.size for kept in self._kept.values())
        count = len(self._ready) + len(self._leased) + len(self._kept) + len(self._settled)
        return self._owed_bytes + kept + (count + 1) * BYTES_OF_A_MESSAGE

    def restore(self, whole: facts.WholeInbox) -> None:
        """Become what was written; only for a new inbox."""
        self.epoch = whole.epoch
        self._gap_through = whole.gap_through
        for message, past in whole.owed:
            self._hold_for_the_lost(message, past)
        self._last_seq = whole.last_seq
        self._kept = {kept.message.id: kept for kept in whole.kept}
        self._settled = whole.settled
        self._earliest_expiry = -NEVER
        for forget_at, answer in whole.answered.values():
            self.waits.restore_answer(answer, forget_at)

    def restore_accepted(self, message: Message) -> None:
        """Take in what was accepted. Raises ValueError when something before it is missing."""
        if message.seq != self._last_seq + 1:
            raise ValueError(f"seq {message.seq} of {self.agent_id} follows seq {self._last_seq}")
        self._forget_due(message.accepted_at)  # one of the same id, perhaps
        self._hold_for_the_lost(message, NO_PAST)

    def _hold_for_the_lost(self, message: Message, past: Past) -> None:
        """Nobody knows who held what: all of it counts as in the hands of who is gone."""
        message.sender, message.type = intern(message.sender), intern(message.type)
        message.to = self.agent_id
        self._last_seq = message.seq
        self._count(message.sender, message.size, 1)
        attempt = max(1, past.attempts)
        held = Held(message, LOST_HOLDER, message.accepted_at, attempt, past.failures, NEVER)
        self._leased[message.id] = held
        self._leases.setdefault(LOST_HOLDER, []).append(message.id)

    def restore_acked(self, acked: facts.Acked) -> None:
        self._forget_due(acked.at)
        held = self._taken_back(acked.message_id)
        self._keep(held.message, acked.attempt, acked.at)

    def restore_ended(self, ended: facts.Ended) -> None:
        self._forget_due(ended.at)
        held = self._taken_back(ended.message_id)
        self._end(held.message, ended.state, ended.at, ended.attempts)

    def _forget_due(self, now: float) -> None:
        if now >= self._earliest_expiry:
            self._forget_old(now)
            self._earliest_expiry = self._next_expiry()

    def _taken_back(self, message_id: str) -> Held:
        held = self._leased[message_id]
        self._drop_lease(held)
        return held

    def restore_failed(self, failed: facts.Failed) -> None:
        held = self._leased[failed.message_id]
        held.attempt, held.failures = failed.past.attempts, failed.past.failures

    def restore_rewritten(self, rewritten: facts.Rewritten) -> None:
        held = self._leased[rewritten.message_id]
        held.message = replace(held.message, text=rewritten.text, payload=rewritten.payload)

    def give_back_the_lost(self, now: float) -> None:
        """All that was read is read: what the lost held is ready again, in its place."""
        self.release(LOST_HOLDER, None, now, failure=False)

    # --- sums -----------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Nothing owed or on its way, nothing kept, nobody waiting."""
        return not (self._reserved or self._ready or self._leased or self._kept or len(self.waits))

    @property
    def counts(self) -> tuple[int, int, int]:
        """Ready, leased and kept messages."""
        return len(self._ready) + self._making_way, len(self._leased), len(self._kept)

    @property
    def oldest_ready_at(self) -> float | None:
        return self._ready[0].accepted_at if self._ready else None

    @property
    def backlog(self) -> Backlog:
        ready, leased, _ = self.counts
        return Backlog(
            agent_id=self.agent_id,
            ready=ready,
            leased=leased,
            bytes=self._owed_bytes,
            oldest_at=self.oldest_ready_at,
        )

    def known_ids(self) -> list[str]:
        """Every message id that something is still known of here."""
        return [
            *(message.id for message in self._ready),
            *self._leased,
            *self._kept,
            *self._settled,
        ]

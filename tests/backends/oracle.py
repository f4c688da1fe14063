"""The promise once more, as simply as it can be said: one list of records that only grows.

Slow, and of another build than any backend, so that the two do not share their mistakes. Whatever
has come due is done at the beginning of every call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from msgspec.structs import replace

from agent_hub.core.agent import Agent, Status
from agent_hub.core.clock import Clock
from agent_hub.core.errors import (
    AgentTaken,
    IdempotencyMismatch,
    InboxFull,
    SenderShare,
    TooManyInboxes,
    TooManyWaits,
)
from agent_hub.core.limits import Limits
from agent_hub.core.mail import (
    Acked,
    Backlog,
    Page,
    Receipt,
    Standing,
    State,
    Submission,
    Totals,
    Undelivered,
    Wait,
    WaitState,
)
from agent_hub.core.message import ALL, HUB, UNDELIVERED, Cursor, Delivery, Message, new_message_id
from agent_hub.core.notice import Notice
from agent_hub.core.queue_backend import QueueBackend, Watch

OWED = (State.READY, State.LEASED)


@dataclass
class Record:
    """One message in one inbox."""

    message: Message
    epoch: str
    state: State = State.READY
    attempts: int = 0
    failures: int = 0
    lease_id: str = ""
    runs_out: float | None = None
    is_manual: bool = False
    by_stream: bool = False
    settled_at: float = 0.0
    ack_number: int = 0
    kept: bool = False
    forgotten: bool = False
    notice: Notice | None = None
    via: str = HUB
    acked_by: str = ""

    @property
    def counted_as(self) -> tuple[str, str]:
        broadcast = "broadcast" if self.message.broadcast else "direct"
        return self.via, broadcast if self.notice is None else "notice"

    @property
    def delivery(self) -> Delivery:
        return Delivery(self.message, self.epoch, self.attempts, self.state)


@dataclass
class OpenQuestion:
    agent_id: str
    question_id: str
    asked: str
    since: float
    deadline: float
    state: WaitState = WaitState.PENDING
    record: Record | None = None
    settled: bool = False


@dataclass
class Key:
    sender: str
    recipient: str
    key: str
    fingerprint: bytes
    message_id: str
    receipt: Receipt | None
    until: float


@dataclass
class Abandoned:
    question: Submission
    receipt: Receipt
    until: float
    taken_by: str | None = None


@dataclass
class Life:
    """One life of an inbox, from its first message until it is forgotten."""

    epoch: str
    last_seq: int = 0
    empty_since: float | None = None


@dataclass
class Nothing:
    def close(self) -> None: ...


@dataclass
class Books:
    records: list[Record] = field(default_factory=list)
    lives: dict[str, Life] = field(default_factory=dict)
    questions: list[OpenQuestion] = field(default_factory=list)
    answers: list[tuple[float, str, Wait]] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    abandoned: list[Abandoned] = field(default_factory=list)
    endings: list[Undelivered] = field(default_factory=list)
    told: list[Undelivered] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)
    streams: dict[str, str] = field(default_factory=dict)


class Oracle(QueueBackend):
    """What a backend should have answered."""

    name: ClassVar[str] = "oracle"

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._books = Books()
        self._count = 0

    @property
    def durability(self) -> str:
        return "process"

    # --- what time brings -----------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.time()

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _due(self) -> None:
        now = self._now()
        for record in self._books.records:
            if record.runs_out is not None and record.runs_out <= self._clock.monotonic():
                self._give_back(record, failure=record.is_manual)
            if record.state is State.READY and record.message.expires_at <= now:
                self._end(record, State.EXPIRED)
            if record.kept and record.message.expires_at <= now:
                record.kept = False
        for question in list(self._books.questions):
            if question.deadline <= self._clock.monotonic():
                self._close(question)
        self._books.answers = [kept for kept in self._books.answers if kept[0] > now]

    def _give_back(self, record: Record, *, failure: bool) -> None:
        self._let_go(record)
        record.failures += failure
        if record.failures > self._limits.failures:
            self._end(record, State.DEAD)
        elif record.message.expires_at <= self._now():
            self._end(record, State.EXPIRED)
        else:
            record.state = State.READY

    def _let_go(self, record: Record) -> None:
        record.lease_id, record.runs_out = "", None
        record.is_manual = record.by_stream = False

    def _end(self, record: Record, state: State) -> None:
        record.state = state
        record.settled_at = self._now()
        message = record.message
        self._books.endings.append(
            Undelivered(
                message_id=message.id,
                sender=message.sender,
                recipient=message.to,
                state=state,
                notify=not message.broadcast and message.sender != HUB,
            )
        )

    def _close(self, question: OpenQuestion) -> None:
        self._books.questions.remove(question)
        if question.record is not None and question.record.state is State.LEASED:
            self._give_back(question.record, failure=False)

    # --- finding --------------------------------------------------------------------------

    def _of(self, agent_id: str, *states: State) -> list[Record]:
        """The records of an inbox by seq."""
        return [
            record
            for record in self._books.records
            if record.message.to == agent_id
            and not record.forgotten
            and (not states or record.state in states)
        ]

    def _life(self, agent_id: str) -> Life:
        life = self._books.lives.get(agent_id)
        if life is not None:
            return life
        if not self._is_registered(agent_id):
            nobodys = [known for known in self._books.lives if not self._is_registered(known)]
            if len(nobodys) >= self._limits.unregistered_inboxes:
                raise TooManyInboxes("")
        life = self._books.lives[agent_id] = Life(f"epoch{self._number()}")
        return life

    def _is_registered(self, agent_id: str) -> bool:
        return any(agent.agent_id == agent_id for agent in self._books.agents)

    def _question(self, agent_id: str, question_id: str) -> OpenQuestion | None:
        for question in self._books.questions:
            if (question.agent_id, question.question_id) == (agent_id, question_id):
                return question
        return None

    # --- mail -----------------------------------------------------------------------------

    async def send(self, submission: Submission) -> Receipt:
        self._due()
        earlier = self._earlier(submission)
        if earlier is not None:
            return replace(earlier, replayed=True)
        draft, to = submission.draft, submission.recipient
        life = self._life(to)
        self._make_room(submission)
        life.last_seq += 1
        message = Message(
            submission.message_id,
            life.last_seq,
            draft.sender,
            to,
            draft.type,
            draft.text,
            draft.payload,
            draft.reply_to,
            draft.traceparent,
            submission.broadcast,
            self._now(),
            submission.ttl,
        )
        record = Record(message, life.epoch, via=submission.via)
        self._books.records.append(record)
        self._offer(record, submission)
        receipt = self._receipt(record)
        if draft.idempotency_key is not None and not submission.broadcast:
            self._remember(submission, to, receipt)
        return receipt

    def _receipt(self, record: Record) -> Receipt:
        message = record.message
        known = [agent for agent in self._books.agents if agent.agent_id == message.to]
        return Receipt(
            message_id=message.id,
            seq=message.seq,
            epoch=record.epoch,
            expires_at=message.expires_at,
            recipient=known[0] if known else None,
        )

    def _earlier(self, submission: Submission) -> Receipt | None:
        if submission.draft.idempotency_key is None and submission.asking_since is not None:
            abandoned = self._abandoned(submission)
            if abandoned is not None and self._can_be_answered(abandoned):
                return abandoned.receipt
        return self._named_earlier(submission)

    def _named_earlier(self, submission: Submission) -> Receipt | None:
        draft, to = submission.draft, submission.recipient
        if draft.idempotency_key is not None and not submission.broadcast:
            key = self._key(draft.sender, to, draft.idempotency_key, submission.fingerprint)
            if key is not None:
                return key.receipt
        for record in self._of(to):
            if record.message.id == submission.message_id:
                return self._receipt(record)
        return None

    def _abandoned(self, again: Submission) -> Abandoned | None:
        for known in reversed(self._books.abandoned):
            question = known.question
            if (
                (question.draft.sender, question.recipient, question.fingerprint)
                == (again.draft.sender, again.recipient, again.fingerprint)
            ):  # fmt: skip
                if known.until <= self._now() or known.taken_by not in (None, again.message_id):
                    return None
                known.taken_by = again.message_id
                return known
        return None

    def _can_be_answered(self, abandoned: Abandoned) -> bool:
        return any(
            record.message.id == abandoned.receipt.message_id
            and not record.forgotten
            and record.state in (*OWED, State.ACKED)
            for record in self._of(abandoned.question.recipient)
        )

    def _key(self, sender: str, to: str, key: str, fingerprint: bytes) -> Key | None:
        newest: dict[tuple[str, str], Key] = {}
        for known in reversed(self._books.keys):
            if known.sender == sender and len(newest) < self._limits.idempotency_keys_per_sender:
                newest.setdefault((known.recipient, known.key), known)
        found = newest.get((to, key))
        if found is None or found.until <= self._now():
            return None
        if found.fingerprint != fingerprint:
            raise IdempotencyMismatch("")
        return found

    def _remember(self, submission: Submission, to: str, receipt: Receipt) -> None:
        draft = submission.draft
        assert draft.idempotency_key is not None
        self._books.keys.append(
            Key(
                draft.sender,
                to,
                draft.idempotency_key,
                submission.fingerprint,
                receipt.message_id,
                receipt,
                self._now() + self._limits.idempotency_seconds,
            )
        )

    def _make_room(self, submission: Submission) -> None:
        draft, limits = submission.draft, self._limits
        mail = [r for r in self._of(submission.recipient, *OWED) if r.message.sender != HUB]
        ready = [record for record in mail if record.state is State.READY]
        own = [record for record in ready if record.message.sender == draft.sender]
        droppable = own + [record for record in ready if record not in own]

        def fault(left: list[Record]) -> type[InboxFull | SenderShare] | None:
            free = limits.inbox_messages - len(left)
            size = sum(record.message.size for record in left)
            if free <= 0 or size + draft.size > limits.inbox_bytes:
                return InboxFull
            if sum(record.message.sender == draft.sender for record in left) >= free:
                return SenderShare
            return None

        refusal = fault(mail)
        if refusal is None:
            return
        for dropped in range(1, len(droppable) + 1 if limits.drop_oldest else 0):
            victims = droppable[:dropped]
            if fault([record for record in mail if record not in victims]) is None:
                for victim in victims:
                    self._end(victim, State.DROPPED)
                return
        raise refusal("")

    def _offer(self, record: Record, submission: Submission) -> None:
        """To the waits of the recipient."""
        message = record.message
        open_ = [
            question
            for question in self._books.questions
            if question.agent_id == message.to
            and question.asked == message.sender
            and question.state is WaitState.PENDING
        ]
        if not open_ or submission.broadcast:
            return
        if message.reply_to is not None:
            named = [question for question in open_ if question.question_id == message.reply_to]
            if named:
                self._answer(named[0], record, WaitState.REPLIED)
        elif submission.asking_since is None:
            self._answer(open_[0], record, WaitState.REPLIED)
        elif open_[0].since < submission.asking_since:
            self._answer(open_[0], record, WaitState.CROSSED)

    def _answer(self, question: OpenQuestion, record: Record, state: WaitState) -> None:
        question.state, question.record = state, record
        record.state, record.lease_id = State.LEASED, question.question_id
        record.attempts += 1

    async def accepted(self, submission: Submission) -> Receipt | None:
        self._due()
        earlier = self._named_earlier(submission)
        return None if earlier is None else replace(earlier, replayed=True)

    async def claim(self, sender: str, key: str, fingerprint: bytes, message_id: str) -> str:
        known = self._key(sender, ALL, key, fingerprint)
        if known is not None:
            return known.message_id
        until = self._now() + self._limits.idempotency_seconds
        self._books.keys.append(Key(sender, ALL, key, fingerprint, message_id, None, until))
        return message_id

    async def lease(
        self,
        agent_id: str,
        lease_id: str,
        *,
        limit: int,
        max_bytes: int,
        seconds: float | None,
        stream_id: str | None = None,
    ) -> list[Delivery]:
        self._due()
        if stream_id is not None and self._books.streams.get(agent_id) != stream_id:
            return []
        held = [r for r in self._of(agent_id, State.LEASED) if r.lease_id == lease_id]
        if not held:
            for record in self._of(agent_id, State.READY)[:limit]:
                size = sum(one.message.size for one in held)
                if held and size + record.message.size > max_bytes:
                    break
                held.append(record)
        for record in held:
            if record.state is State.READY:
                record.state, record.lease_id = State.LEASED, lease_id
                record.attempts += 1
                record.is_manual, record.by_stream = seconds is not None, stream_id is not None
                if not record.by_stream:
                    span = self._limits.taking_seconds if seconds is None else seconds
                    record.runs_out = self._clock.monotonic() + span
        return [record.delivery for record in held]

    async def ack(
        self, agent_id: str, message_ids: Sequence[str], *, mode: str = "manual"
    ) -> list[Acked]:
        self._due()
        acked = []
        # Within one call: what is leased as it is named, then what is ready as it stands.
        named = [r for i in message_ids for r in self._of(agent_id, State.LEASED)
                 if r.message.id == i]  # fmt: skip
        named += [r for r in self._of(agent_id, State.READY) if r.message.id in message_ids]
        for record in named:
            if record.state not in OWED:
                continue
            question = self._question(agent_id, record.lease_id)
            if question is not None:
                question.settled = True
            record.state = State.ACKED
            self._let_go(record)
            record.settled_at, record.ack_number = self._now(), self._number()
            record.kept, record.acked_by = True, mode
            acked.append(Acked(record.message.id, record.message.accepted_at))
            kept = [record for record in self._of(agent_id) if record.kept]
            if len(kept) > self._limits.kept_messages:
                min(kept, key=lambda record: record.ack_number).kept = False
        return acked

    def _held(self, agent_id: str, lease_id: str, ids: Sequence[str] | None) -> list[Record]:
        if self._question(agent_id, lease_id) is not None:
            return []
        return [
            record
            for record in self._of(agent_id, State.LEASED)
            if record.lease_id == lease_id and (ids is None or record.message.id in ids)
        ]

    async def release(
        self,
        agent_id: str,
        lease_id: str,
        message_ids: Sequence[str] | None,
        *,
        failure: bool,
    ) -> int:
        self._due()
        held = self._held(agent_id, lease_id, message_ids)
        for record in held:
            self._give_back(record, failure=failure)
        return len(held)

    async def extend(
        self, agent_id: str, lease_id: str, message_ids: Sequence[str], *, seconds: float
    ) -> int:
        self._due()
        held = [
            record for record in self._held(agent_id, lease_id, message_ids) if record.is_manual
        ]
        for record in held:
            record.runs_out = self._clock.monotonic() + seconds
        return len(held)

    async def look(self, agent_id: str, since: Cursor | None, limit: int) -> Page:
        self._due()
        shown = self._of(agent_id, *OWED)
        if since is not None:
            shown += self._kept_after(agent_id, since)
        page = self._page(agent_id, shown, since, limit)
        page.ready = len(self._of(agent_id, State.READY))
        return page

    async def kept(self, agent_id: str, since: Cursor, limit: int) -> Page:
        self._due()
        return self._page(agent_id, self._kept_after(agent_id, since), since, limit)

    def _kept_after(self, agent_id: str, since: Cursor) -> list[Record]:
        return [
            record
            for record in self._of(agent_id)
            if record.kept and (record.epoch != since.epoch or record.message.seq > since.seq)
        ]

    def _page(self, agent_id: str, shown: list[Record], since: Cursor | None, limit: int) -> Page:
        life = self._books.lives.get(agent_id)
        if life is None:
            return Page(deliveries=[], total=0, cursor=None, recovered=False)
        shown.sort(key=lambda record: record.message.seq)
        page = [record.delivery for record in shown[:limit]]
        recovered = since is not None and since.epoch == life.epoch and since.seq <= life.last_seq
        for record in self._of(agent_id):
            is_gone = record.state not in OWED and not record.kept
            if since is not None and is_gone and record.message.seq > since.seq:
                recovered = False
        return Page(
            deliveries=page,
            total=len(shown),
            cursor=page[-1].cursor if page else Cursor(life.epoch, life.last_seq),
            recovered=recovered,
        )

    async def standings(self, agent_id: str, message_id: str) -> list[Standing]:
        self._due()
        return [
            Standing(
                recipient=record.message.to,
                state=record.state,
                since=record.settled_at or record.message.accepted_at,
                accepted_at=record.message.accepted_at,
                expires_at=record.message.expires_at,
                attempts=record.attempts,
            )
            for record in self._books.records
            if record.message.id == message_id
            and not record.forgotten
            and agent_id in (record.message.sender, record.message.to)
        ]

    # --- waits ----------------------------------------------------------------------------

    async def open_wait(
        self, agent_id: str, question_id: str, asked: str, *, seconds: float
    ) -> Wait:
        self._due()
        self._life(agent_id)
        found = await self.wait(agent_id, question_id)
        question = self._question(agent_id, question_id)
        if question is not None:
            question.deadline = max(question.deadline, self._clock.monotonic() + seconds)
        if found is not None:
            return found
        for record in sorted(self._of(agent_id), key=lambda record: record.message.seq):
            told = (record.message.sender, record.message.reply_to) == (asked, question_id)
            if told and record.kept:
                return self._answered_by(agent_id, question_id, record)
        pending = [
            question
            for question in self._books.questions
            if question.agent_id == agent_id and question.state is WaitState.PENDING
        ]
        if len(pending) >= self._limits.waits_per_agent:
            raise TooManyWaits("")
        # The number alone orders them: nothing else is done with these times.
        deadline = self._clock.monotonic() + seconds
        question = OpenQuestion(agent_id, question_id, asked, float(self._number()), deadline)
        self._books.questions.append(question)
        for record in self._of(agent_id, State.READY):
            if (record.message.sender, record.message.reply_to) == (asked, question_id):
                self._answer(question, record, WaitState.REPLIED)
                break
        return self._view(question)

    def _answered_by(self, agent_id: str, question_id: str, record: Record) -> Wait:
        """A reply that was read as ordinary mail."""
        answer = Wait(
            question_id=question_id,
            since=self._now(),
            state=WaitState.REPLIED,
            delivery=Delivery(record.message, record.epoch, record.attempts, State.ACKED),
            settled=True,
        )
        until = self._now() + self._limits.idempotency_seconds
        self._books.answers.append((until, agent_id, answer))
        return answer

    def _view(self, question: OpenQuestion) -> Wait:
        record = question.record
        # The delivery as it was handed over, whatever became of the message.
        delivery = None
        if record is not None:
            delivery = Delivery(record.message, record.epoch, record.attempts, State.LEASED)
        return Wait(
            question_id=question.question_id,
            since=question.since,
            state=question.state,
            delivery=delivery,
            settled=question.settled,
        )

    async def wait(self, agent_id: str, question_id: str) -> Wait | None:
        self._due()
        question = self._question(agent_id, question_id)
        if question is not None:
            return self._view(question)
        for _, asker, answer in self._books.answers:
            if (asker, answer.question_id) == (agent_id, question_id):
                return answer
        return None

    async def close_wait(
        self,
        agent_id: str,
        question_id: str,
        *,
        keep: bool = False,
        abandoned: Submission | None = None,
    ) -> None:
        self._due()
        now = self._now()
        question = self._question(agent_id, question_id)
        if question is not None:
            self._close(question)
            if keep and question.settled and question.state is WaitState.REPLIED:
                until = now + self._limits.idempotency_seconds
                self._books.answers.append((until, agent_id, self._view(question)))
        if abandoned is None:
            return
        for record in self._of(abandoned.recipient):
            if record.message.id == question_id:
                until = now + self._limits.abandoned_wait_seconds
                self._books.abandoned.append(Abandoned(abandoned, self._receipt(record), until))

    # --- endings --------------------------------------------------------------------------

    async def undelivered(self, limit: int) -> list[Undelivered]:
        return self._books.endings[:limit]

    async def notice(self, ended: Undelivered) -> bool:
        self._due()
        if ended not in self._books.endings or ended in self._books.told:
            return False
        life = self._life(ended.sender)
        self._books.told.append(ended)
        notices = [r for r in self._of(ended.sender, *OWED) if r.notice is not None]
        for record in notices:
            notice = record.notice
            if notice is not None and notice.recipient == ended.recipient and not record.attempts:
                notice.add(ended, self._limits.ids_per_notice)
                record.message = replace(record.message, text=notice.text, payload=notice.payload)
                return False
        if len(notices) >= self._limits.notices_per_inbox:
            return False
        notice = Notice.about(ended.recipient)
        notice.add(ended, self._limits.ids_per_notice)
        life.last_seq += 1
        message = Message(
            new_message_id(),
            life.last_seq,
            HUB,
            ended.sender,
            UNDELIVERED,
            notice.text,
            notice.payload,
            None,
            None,
            False,
            self._now(),
            self._limits.notice_ttl,
        )
        self._books.records.append(Record(message, life.epoch, notice=notice))
        return True

    async def noted(self, ended: Sequence[Undelivered]) -> None:
        self._books.endings = [one for one in self._books.endings if one not in ended]

    async def sweep(self) -> None:
        self._due()
        now = self._now()
        for agent in list(self._books.agents):
            if agent.last_seen + self._limits.registration_seconds <= now:
                self._books.agents.remove(agent)
        for agent_id, life in list(self._books.lives.items()):
            in_use = self._is_registered(agent_id) or any(
                record.state in OWED or record.kept for record in self._of(agent_id)
            )
            in_use |= any(question.agent_id == agent_id for question in self._books.questions)
            in_use |= any(asker == agent_id for _, asker, _ in self._books.answers)
            if in_use:
                life.empty_since = None
                continue
            if life.empty_since is None:
                life.empty_since = now
            if life.empty_since + self._limits.empty_inbox_seconds <= now:
                del self._books.lives[agent_id]
                for record in self._of(agent_id):
                    record.forgotten = True

    async def totals(self) -> Totals:
        def count(state: State) -> int:
            return sum(record.state is state for record in self._books.records)

        ready = [r.message.accepted_at for r in self._books.records if r.state is State.READY]
        return Totals(
            accepted=len(self._books.records),
            acked=count(State.ACKED),
            expired=count(State.EXPIRED),
            dead=count(State.DEAD),
            dropped=count(State.DROPPED),
            ready=count(State.READY),
            leased=count(State.LEASED),
            kept=sum(record.kept for record in self._books.records),
            inboxes=len(self._books.lives),
            oldest_ready_age=self._now() - min(ready, default=self._now()),
            accepted_by=Counter(record.counted_as for record in self._books.records),
            acked_by=Counter(r.acked_by for r in self._books.records if r.acked_by),
        )

    async def backlogs(self) -> list[Backlog]:
        owing = {r.message.to for r in self._books.records if r.state in OWED}
        return [self._backlog(agent_id) for agent_id in owing]

    def _backlog(self, agent_id: str) -> Backlog:
        ready, owed = self._of(agent_id, State.READY), self._of(agent_id, *OWED)
        return Backlog(
            agent_id=agent_id,
            ready=len(ready),
            leased=len(owed) - len(ready),
            bytes=sum(r.message.size for r in owed if r.message.sender != HUB),
            oldest_at=min((r.message.accepted_at for r in ready), default=None),
        )

    # --- who ------------------------------------------------------------------------------

    def watch(
        self, agent_id: str, wake: Callable[[], None], *, question_id: str | None = None
    ) -> Watch:
        return Nothing()

    async def occupy(self, agent_id: str, stream_id: str, replaced: Callable[[], None]) -> None:
        self._due()
        before = self._books.streams.get(agent_id)
        self._books.streams[agent_id] = stream_id
        if before not in (None, stream_id):
            self._give_back_stream(agent_id)

    async def renew(self, agent_id: str, stream_id: str) -> bool:
        self._due()
        return self._books.streams.get(agent_id) == stream_id

    async def vacate(self, agent_id: str, stream_id: str) -> None:
        self._due()
        if self._books.streams.get(agent_id) == stream_id:
            del self._books.streams[agent_id]
            self._give_back_stream(agent_id)

    def _give_back_stream(self, agent_id: str) -> None:
        for record in self._of(agent_id, State.LEASED):
            if record.by_stream:
                self._give_back(record, failure=False)

    async def put_agent(self, agent: Agent) -> bool:
        now = self._now()
        for place, known in enumerate(self._books.agents):
            if known.agent_id == agent.agent_id:
                if known.owner and agent.owner and known.owner != agent.owner:
                    raise AgentTaken("another's")
                self._books.agents[place] = replace(
                    agent,
                    last_seen=now,
                    registered_at=known.registered_at,
                    owner=agent.owner or known.owner,
                )
                return False
        self._books.agents.append(replace(agent, last_seen=now, registered_at=now))
        return True

    async def touch_agent(self, agent_id: str, status: Status | None = None) -> Agent | None:
        agent = await self.agent(agent_id)
        if agent is None:
            return None
        touched = replace(agent, last_seen=self._now(), status=status or agent.status)
        self._books.agents[self._books.agents.index(agent)] = touched
        return touched

    async def remove_agent(self, agent_id: str) -> bool:
        agent = await self.agent(agent_id)
        if agent is None:
            return False
        self._books.agents.remove(agent)
        return True

    async def agent(self, agent_id: str) -> Agent | None:
        return next((a for a in self._books.agents if a.agent_id == agent_id), None)

    async def agents(self) -> list[Agent]:
        return list(self._books.agents)

"""Queues in the memory of this process: the reference model of what a backend does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

from msgspec.structs import replace

from agent_hub.core.agent import Agent, Status
from agent_hub.core.clock import Clock
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
)
from agent_hub.core.message import ALL, Cursor, Delivery, Message
from agent_hub.core.queue_backend import QueueBackend, Watch
from agent_hub.queue_backends import facts
from agent_hub.queue_backends.agents import Agents
from agent_hub.queue_backends.changes import (
    Accepting,
    Deregistering,
    Posting,
    Registering,
    Underway,
    names,
)
from agent_hub.queue_backends.claims import Claims, again
from agent_hub.queue_backends.endings import Endings
from agent_hub.queue_backends.inbox import Inbox
from agent_hub.queue_backends.journal import Journal
from agent_hub.queue_backends.refusals import too_many_inboxes
from agent_hub.queue_backends.states import NEVER
from agent_hub.queue_backends.watchers import Occupants, Watchers
from agent_hub.queue_backends.whereabouts import Whereabouts

NOTICE = ("hub", "notice")
"""How a notice is counted."""


class Question(NamedTuple):
    """A question by which the same one, asked again, is known."""

    asker: str
    asked: str
    fingerprint: bytes


class MemoryBackend(QueueBackend):
    """Plain dictionaries.

    Nothing awaits but the journal, which a store of this kind has if it outlives its process;
    without one each call is one turn of the event loop.
    """

    name: ClassVar[str] = "memory"
    _kind_of_inbox: ClassVar[type[Inbox]] = Inbox

    def __init__(
        self, clock: Clock, limits: Limits | None = None, *, journal: Journal | None = None
    ) -> None:
        self._clock = clock
        self._limits = limits or Limits()
        self._journal = journal or Journal()
        self._readers = Watchers()
        self._askers = Watchers()
        self._occupants = Occupants()
        self._forget_all()

    def _forget_all(self) -> None:
        """Begin with nothing."""
        self._inboxes: dict[str, Inbox] = {}
        self._unregistered: set[str] = set()  # the inboxes without a registered agent
        self._empty_since: dict[str, float] = {}
        self._agents = Agents()
        self._register_underway: dict[str, list[Agent]] = {}  # what is being written of it
        self._whereabouts = Whereabouts()
        self._claims = Claims(self._limits)
        self._underway: Underway = {}
        self._questions: dict[str, Question] = {}  # without a key, and not closed yet
        self._endings = Endings()
        self._accepted: Counter[tuple[str, str]] = Counter()  # by via and kind
        self._acked: Counter[str] = Counter()  # by mode
        self._last_since = 0.0

    @property
    def durability(self) -> str:
        return "process"

    # --- mail -----------------------------------------------------------------------------

    async def send(self, submission: Submission) -> Receipt:
        while self._underway and (same := self._same_underway(submission)) is not None:
            await same.over()
        now = self._clock.time()
        earlier = self._earlier(submission, now)
        if earlier is not None:
            return again(earlier)
        inbox = self._inbox_for(submission.recipient, now)
        if self._journal.is_instant:
            return self._accept_now(submission, inbox, now)
        accepting = Accepting(inbox, submission, now, self._underway, self._accept)
        return await self._journal.write(accepting)

    def _accept_now(self, submission: Submission, inbox: Inbox, now: float) -> Receipt:
        """The steps of Accepting at one go, for half of the time that they take one by one."""
        victims = inbox.reserve(submission)
        message = inbox.number(submission, now)
        inbox.publish(message, submission, victims, now)
        return self._accept(submission, inbox, message)

    def _same_underway(self, submission: Submission) -> Accepting | None:
        for name in names(submission):
            if (found := self._underway.get(name)) is not None:
                return found
        return None

    def _accept(self, submission: Submission, inbox: Inbox, message: Message) -> Receipt:
        """Remember an accepted message by all that it can be asked for."""
        self._accepted[submission.via, submission.kind] += 1
        self._whereabouts.add(message.id, inbox)
        receipt = self._first_receipt(message, inbox)
        draft, to, fingerprint = submission.draft, inbox.agent_id, submission.fingerprint
        if draft.idempotency_key is not None and not submission.broadcast:
            self._claims.add(
                draft.sender,
                to,
                draft.idempotency_key,
                fingerprint,
                message.id,
                message.accepted_at,
                receipt,
            )
        elif submission.asking_since is not None:
            self._questions[message.id] = Question(draft.sender, to, fingerprint)
        return receipt

    def _first_receipt(self, message: Message, inbox: Inbox) -> Receipt:
        return Receipt(
            message_id=message.id,
            seq=message.seq,
            epoch=inbox.epoch,
            expires_at=message.expires_at,
            recipient=self._agents.get(inbox.agent_id),
        )

    def _earlier(self, submission: Submission, now: float) -> Receipt | None:
        """The first receipt, if this submission was accepted before."""
        draft, to = submission.draft, submission.recipient
        if draft.idempotency_key is None and submission.asking_since is not None:
            claim = self._claims.take_abandoned(
                draft.sender, to, submission.fingerprint, submission.message_id, now
            )
            if claim is not None and not self._has_ended(claim.message_id, to):
                return claim.receipt
        return self._named_earlier(submission, now)

    def _named_earlier(self, submission: Submission, now: float) -> Receipt | None:
        """The first receipt, if this key or message id was accepted before."""
        draft, to = submission.draft, submission.recipient
        if draft.idempotency_key is not None and not submission.broadcast:
            claim = self._claims.find(
                draft.sender, to, draft.idempotency_key, submission.fingerprint, now
            )
            if claim is not None:
                return claim.receipt
        known = submission.message_id in self._whereabouts
        return self._receipt(submission.message_id, to) if known else None

    def _has_ended(self, message_id: str, recipient: str) -> bool:
        """Whether nobody can answer this question any more."""
        inbox = self._existing(recipient)
        standing = None if inbox is None else inbox.standing(message_id)
        return standing is None or standing.state in (State.EXPIRED, State.DEAD, State.DROPPED)

    def _receipt(self, message_id: str, recipient: str) -> Receipt | None:
        """The receipt of a message that this inbox still knows."""
        inbox = self._whereabouts.at(message_id, recipient)
        found = None if inbox is None else inbox.find(message_id)
        if inbox is None or found is None:
            return None
        return Receipt(
            message_id=message_id,
            seq=found.seq,
            epoch=inbox.epoch,
            expires_at=found.expires_at,
            recipient=self._agents.get(recipient),
        )

    def _inbox_for(self, agent_id: str, now: float) -> Inbox:
        """The inbox, made on demand."""
        inbox = self._inboxes.get(agent_id)
        if inbox is not None:
            inbox.come_due(now, self._clock.monotonic())
            return inbox
        if agent_id not in self._agents:
            if len(self._unregistered) >= self._limits.unregistered_inboxes:
                raise too_many_inboxes(agent_id, self._limits)
            self._unregistered.add(agent_id)
        return self._make_inbox(agent_id)

    def _make_inbox(self, agent_id: str) -> Inbox:
        """An empty inbox with a new epoch."""
        inbox = self._inboxes[agent_id] = self._kind_of_inbox(
            agent_id,
            self._limits,
            journal=self._journal,
            ended=self._endings.add,
            forgotten=self._whereabouts.forget,
            wake=self._readers.wake,
            answered=self._askers.wake,
        )
        self._journal.note(facts.InboxMade(agent_id, inbox.epoch))
        return inbox

    def _existing(self, agent_id: str) -> Inbox | None:
        """The inbox, if there is one, with all done in it that has come due."""
        inbox = self._inboxes.get(agent_id)
        if inbox is not None:
            inbox.come_due(self._clock.time(), self._clock.monotonic())
        return inbox

    async def accepted(self, submission: Submission) -> Receipt | None:
        earlier = self._named_earlier(submission, self._clock.time())
        return None if earlier is None else again(earlier)

    async def claim(self, sender: str, key: str, fingerprint: bytes, message_id: str) -> str:
        now = self._clock.time()
        claim = self._claims.find(sender, ALL, key, fingerprint, now)
        if claim is not None:
            return claim.message_id
        self._claims.add(sender, ALL, key, fingerprint, message_id, now)
        self._journal.note(facts.Claimed(sender, key, fingerprint, message_id, now))
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
        inbox = self._existing(agent_id)
        if inbox is None:
            return []
        runs_out = NEVER
        if stream_id is None:
            runs_in = self._limits.taking_seconds if seconds is None else seconds
            runs_out = self._clock.monotonic() + runs_in
        elif not self._occupants.has(agent_id, stream_id):
            return []
        now, is_manual = self._clock.time(), seconds is not None
        return inbox.lease(lease_id, limit, max_bytes, now, runs_out, is_manual=is_manual)

    async def ack(
        self, agent_id: str, message_ids: Sequence[str], *, mode: str = "manual"
    ) -> list[Acked]:
        inbox = self._existing(agent_id)
        if inbox is None:
            return []
        acked = inbox.ack(message_ids, self._clock.time())
        if acked:
            self._acked[mode] += len(acked)
        return acked

    async def release(
        self,
        agent_id: str,
        lease_id: str,
        message_ids: Sequence[str] | None,
        *,
        failure: bool,
    ) -> int:
        inbox = self._existing(agent_id)
        if inbox is None:
            return 0
        return inbox.release(lease_id, message_ids, self._clock.time(), failure=failure)

    async def extend(
        self, agent_id: str, lease_id: str, message_ids: Sequence[str], *, seconds: float
    ) -> int:
        inbox = self._existing(agent_id)
        if inbox is None:
            return 0
        return inbox.extend(lease_id, message_ids, self._clock.monotonic() + seconds)

    async def look(self, agent_id: str, since: Cursor | None, limit: int) -> Page:
        inbox = self._existing(agent_id)
        return NOTHING if inbox is None else inbox.look(since, limit)

    async def kept(self, agent_id: str, since: Cursor, limit: int) -> Page:
        inbox = self._existing(agent_id)
        return NOTHING if inbox is None else inbox.kept(since, limit)

    async def standings(self, agent_id: str, message_id: str) -> list[Standing]:
        shown = []
        for inbox in self._whereabouts.of(message_id):
            inbox.come_due(self._clock.time(), self._clock.monotonic())
            found = inbox.find(message_id)
            if found is not None and agent_id in (found.sender, inbox.agent_id):
                shown.append(inbox.standing(message_id))
        return [standing for standing in shown if standing is not None]

    # --- waits ----------------------------------------------------------------------------

    async def open_wait(
        self, agent_id: str, question_id: str, asked: str, *, seconds: float
    ) -> Wait:
        now = self._clock.time()
        # No two waits stand since the same moment: which one stood first decides a crossing.
        self._last_since = since = max(now, self._last_since + 1e-6)
        inbox = self._inbox_for(agent_id, now)
        deadline = self._clock.monotonic() + seconds
        return inbox.open_wait(question_id, asked, now, since=since, deadline=deadline)

    async def wait(self, agent_id: str, question_id: str) -> Wait | None:
        inbox = self._existing(agent_id)
        return None if inbox is None else inbox.wait(question_id)

    async def close_wait(
        self,
        agent_id: str,
        question_id: str,
        *,
        keep: bool = False,
        abandoned: Submission | None = None,
    ) -> None:
        now = self._clock.time()
        inbox = self._existing(agent_id)
        if inbox is not None:
            inbox.close_wait(question_id, now, keep=keep)
        if self._questions.pop(question_id, None) is not None:
            self._journal.note(facts.QuestionClosed(question_id))
        if abandoned is not None:
            question = Question(agent_id, abandoned.recipient, abandoned.fingerprint)
            self._abandon(question_id, question, now)

    def _abandon(self, question_id: str, question: Question, now: float) -> None:
        receipt = self._receipt(question_id, question.asked)
        if receipt is not None:
            self._claims.abandon(*question, receipt, now)
            self._journal.note(facts.Abandoned(*question, question_id, now))

    # --- what ended without an ack --------------------------------------------------------

    async def undelivered(self, limit: int) -> list[Undelivered]:
        return self._endings.oldest(limit)

    async def notice(self, ended: Undelivered) -> bool:
        if not self._endings.must_be_told(ended):
            return False
        now = self._clock.time()
        inbox = self._inbox_for(ended.sender, now)
        notice = inbox.notice(ended)
        if notice is not None:
            return await self._journal.write(Posting(inbox, notice, ended, now, self._posted))
        self._endings.tell(ended)
        self._journal.note(facts.Told(ended.message_id, ended.recipient))
        return False

    def _posted(self, ended: Undelivered, inbox: Inbox, message: Message) -> None:
        self._endings.tell(ended)
        self._accepted[NOTICE] += 1
        self._whereabouts.add(message.id, inbox)

    async def noted(self, ended: Sequence[Undelivered]) -> None:
        for one in ended:
            self._endings.forget(one.message_id, one.recipient)
            self._journal.note(facts.Noted(one.message_id, one.recipient))

    async def sweep(self) -> None:
        now, monotonic = self._clock.time(), self._clock.monotonic()
        for agent in list(self._agents.values()):
            is_over = agent.last_seen + self._limits.registration_seconds <= now
            if is_over and agent.agent_id not in self._register_underway:
                self._deregister(agent.agent_id)
                self._journal.note(facts.Deregistered(agent.agent_id))
        for inbox in list(self._inboxes.values()):
            inbox.come_due(now, monotonic)
            self._sweep_empty(inbox, now)
        self._claims.sweep(now)

    def _sweep_empty(self, inbox: Inbox, now: float) -> None:
        """An empty inbox of nobody goes after a while, and with it its epoch."""
        agent_id = inbox.agent_id
        if agent_id in self._agents or not inbox.is_empty or agent_id in self._readers:
            self._empty_since.pop(agent_id, None)
        elif self._empty_since.setdefault(agent_id, now) + self._limits.empty_inbox_seconds <= now:
            del self._empty_since[agent_id]
            self._remove_inbox(inbox)
            self._journal.note(facts.InboxGone(agent_id))

    def _remove_inbox(self, inbox: Inbox) -> None:
        del self._inboxes[inbox.agent_id]
        self._unregistered.discard(inbox.agent_id)
        for message_id in inbox.known_ids():
            self._whereabouts.forget(message_id, inbox.agent_id)

    async def totals(self) -> Totals:
        ready = leased = kept = 0
        now = oldest = self._clock.time()
        for inbox in self._inboxes.values():
            counts = inbox.counts
            ready, leased, kept = ready + counts[0], leased + counts[1], kept + counts[2]
            if inbox.oldest_ready_at is not None:
                oldest = min(oldest, inbox.oldest_ready_at)
        return Totals(
            accepted=self._accepted.total(),
            acked=self._acked.total(),
            expired=self._endings.counts[State.EXPIRED],
            dead=self._endings.counts[State.DEAD],
            dropped=self._endings.counts[State.DROPPED],
            ready=ready,
            leased=leased,
            kept=kept,
            inboxes=len(self._inboxes),
            oldest_ready_age=now - oldest,
            accepted_by=dict(self._accepted),
            acked_by=dict(self._acked),
        )

    async def backlogs(self) -> list[Backlog]:
        every = (inbox.backlog for inbox in self._inboxes.values())
        return [backlog for backlog in every if backlog.messages]

    # --- streams --------------------------------------------------------------------------

    async def occupy(self, agent_id: str, stream_id: str, replaced: Callable[[], None]) -> None:
        if self._occupants.put(agent_id, stream_id, replaced):
            self._give_back_the_stream(agent_id)

    async def renew(self, agent_id: str, stream_id: str) -> bool:
        return self._occupants.has(agent_id, stream_id)

    async def vacate(self, agent_id: str, stream_id: str) -> None:
        if self._occupants.remove(agent_id, stream_id):
            self._give_back_the_stream(agent_id)

    def _give_back_the_stream(self, agent_id: str) -> None:
        inbox = self._existing(agent_id)
        if inbox is not None:
            inbox.give_back_the_stream(self._clock.time())

    # --- wake-ups -------------------------------------------------------------------------

    def watch(
        self, agent_id: str, wake: Callable[[], None], *, question_id: str | None = None
    ) -> Watch:
        if question_id is not None:
            return self._askers.add(question_id, wake)
        return self._readers.add(agent_id, wake)

    # --- agents ---------------------------------------------------------------------------

    async def put_agent(self, agent: Agent) -> bool:
        now = self._clock.time()
        known = self._agents.get(agent.agent_id)
        self._agents.check_room(agent, self._register_underway, self._limits)
        registered_at = now if known is None else known.registered_at
        agent = replace(agent, last_seen=now, registered_at=registered_at)
        registering = Registering(agent, known, self._register_underway, self._register)
        return await self._journal.write(registering)

    def _register(self, agent: Agent) -> bool:
        is_new = agent.agent_id not in self._agents
        self._agents.put(agent)
        self._unregistered.discard(agent.agent_id)
        return is_new

    async def touch_agent(self, agent_id: str, status: Status | None = None) -> Agent | None:
        agent = self._agents.get(agent_id)
        if agent is None:
            return None
        agent = replace(agent, last_seen=self._clock.time(), status=status or agent.status)
        self._agents.put(agent)
        if agent_id not in self._register_underway:  # this would be read after what comes after it
            self._journal.note(facts.Registered(agent))
        return agent

    async def remove_agent(self, agent_id: str) -> bool:
        agent = self._agents.get(agent_id)
        if agent is None:
            return False
        deregistering = Deregistering(agent, self._register_underway, self._deregister)
        return await self._journal.write(deregistering)

    def _deregister(self, agent_id: str) -> bool:
        if not self._agents.remove(agent_id):
            return False
        if agent_id in self._inboxes:
            self._unregistered.add(agent_id)
        return True

    async def agent(self, agent_id: str) -> Agent | None:
        return self._agents.get(agent_id)

    async def agents(self) -> list[Agent]:
        return list(self._agents.values())


NOTHING = Page(deliveries=[], total=0, cursor=None, recovered=False)

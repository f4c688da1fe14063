"""The questions of one agent that still wait for an answer, and the answers given lately."""

from __future__ import annotations

from msgspec import Struct

from agent_hub.core.limits import Limits
from agent_hub.core.mail import Submission, Wait, WaitState
from agent_hub.core.message import Delivery, Message
from agent_hub.queue_backends.refusals import too_many_waits


class OpenWait(Struct, kw_only=True):
    """One wait. `deadline` (monotonic) ends it should its holder vanish."""

    question_id: str
    asked: str
    since: float
    deadline: float
    state: WaitState = WaitState.PENDING
    delivery: Delivery | None = None
    settled: bool = False

    def view(self) -> Wait:
        return Wait(
            question_id=self.question_id,
            since=self.since,
            state=self.state,
            delivery=self.delivery,
            settled=self.settled,
        )


class Waits:
    """All waits of one inbox, oldest first, and which message answers which.

    `open` are those that stand, by question; `answers` those that may be given again, each with
    the (wall) time at which it is to be forgotten.
    """

    def __init__(self, agent_id: str, limits: Limits) -> None:
        self._agent_id = agent_id
        self._limits = limits
        self.open: dict[str, OpenWait] = {}
        self.answers: dict[str, tuple[float, Wait]] = {}

    def answered(self, question_id: str) -> Wait | None:
        """The answer given lately to a question that may be asked again."""
        remembered = self.answers.get(question_id)
        return remembered and remembered[1]

    def restore_answer(self, answer: Wait, forget_at: float) -> None:
        """Let an answer be given again until then."""
        self.answers[answer.question_id] = (forget_at, answer)
        if len(self.answers) > self._limits.answers_per_agent:
            del self.answers[next(iter(self.answers))]

    def begin(self, question_id: str, asked: str, since: float, deadline: float) -> OpenWait:
        """Open a wait, or find it open. Raises TooManyWaits."""
        wait = self.open.get(question_id)
        if wait is not None:
            wait.deadline = max(wait.deadline, deadline)
            return wait
        pending = sum(wait.state is WaitState.PENDING for wait in self.open.values())
        if pending >= self._limits.waits_per_agent:
            raise too_many_waits(self._agent_id, self._limits)
        wait = OpenWait(question_id=question_id, asked=asked, since=since, deadline=deadline)
        self.open[question_id] = wait
        return wait

    def match(self, message: Message, submission: Submission) -> OpenWait | None:
        """The wait that this arriving message answers; sets the wait's new state."""
        pending = [
            wait
            for wait in self.open.values()
            if wait.state is WaitState.PENDING and wait.asked == message.sender
        ]
        for wait in pending:
            if message.reply_to == wait.question_id:
                wait.state = WaitState.REPLIED
                return wait
        if message.reply_to is not None or not pending or submission.broadcast:
            return None
        return self._fall_back(pending[0], message.sender, submission.asking_since)

    def _fall_back(
        self, oldest: OpenWait, sender: str, asking_since: float | None
    ) -> OpenWait | None:
        """A message that names no question: a reply from a model that forgot, or a crossing."""
        if asking_since is None:
            oldest.state = WaitState.REPLIED
            return oldest
        # Both ask each other: the wait that stood first gives way, so that exactly one does.
        if (oldest.since, self._agent_id) < (asking_since, sender):
            oldest.state = WaitState.CROSSED
            return oldest
        return None

    def close(self, question_id: str, now: float, *, keep: bool) -> OpenWait | None:
        """End an open wait; with `keep` a settled reply can be given again for a while."""
        wait = self.open.pop(question_id, None)
        if keep and wait is not None and wait.settled and wait.state is WaitState.REPLIED:
            self._remember(wait.view(), now)
        return wait

    def remember(self, question_id: str, delivery: Delivery, now: float) -> Wait:
        """An answer that is settled already, to be given again for a while."""
        answer = Wait(
            question_id=question_id,
            since=now,
            state=WaitState.REPLIED,
            delivery=delivery,
            settled=True,
        )
        self._remember(answer, now)
        return answer

    def _remember(self, answer: Wait, now: float) -> None:
        self.restore_answer(answer, now + self._limits.idempotency_seconds)

    def come_due(self, now: float, monotonic: float) -> list[str]:
        """Forget old answers; the questions whose holder vanished."""
        while self.answers and next(iter(self.answers.values()))[0] <= now:
            del self.answers[next(iter(self.answers))]
        return [wait.question_id for wait in self.open.values() if wait.deadline <= monotonic]

"""Ask and wait: a question, and the one message that answers it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from msgspec.structs import replace

from agent_hub.core.errors import BackendUnavailable, HubError, TooManyWaits
from agent_hub.core.mail import Receipt, Submission, Wait, WaitState
from agent_hub.core.message import Delivery
from agent_hub.core.metrics import Metrics
from agent_hub.core.owed import Owed
from agent_hub.core.principal import Principal
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.tally import Tally
from agent_hub.core.vigil import Vigil
from agent_hub.core.wakeup import Wakeup

HOLDER_GRACE_SECONDS = 30.0
"""How much longer than its timeout a wait stands in the store, should its holder vanish."""
HELD_SECONDS = 90.0
"""How long it stands for an answer that its asker has and did not ack yet, if not renewed."""


class Question:
    """A question that was sent, and the wait for its answer.

    Close it once the answer was given to the asker (`taken`), or when that failed: then a reply
    is an ordinary message again. As a context manager it closes itself.
    """

    def __init__(
        self,
        asking: Asking,
        caller: Principal,
        submission: Submission,
        receipt: Receipt,
        timeout: float,
    ) -> None:
        self.receipt = receipt
        self.taken = False
        self.is_counted = False  # by the stream on which the answer was written
        self._asking = asking
        self._caller = caller
        self._submission = submission
        self._timeout = timeout
        self._wait: Wait | None = None
        self._closed = False

    @property
    def question_id(self) -> str:
        return self.receipt.message_id

    @property
    def asker(self) -> str:
        return self._submission.draft.sender

    async def answered(self) -> Wait:
        """The reply, the other's question when both ask each other, or pending after the timeout.

        Cancelled, it leaves nothing behind once the question is closed. Raises Unauthenticated
        when the asker's credential ends meanwhile.
        """
        self._wait = await self._asking.watch(
            self._caller, self.asker, self.question_id, self._timeout
        )
        return self._wait

    async def hold(self) -> None:
        """Keep the answer, which its asker has, reserved for HELD_SECONDS more."""
        if not self._closed:
            await self._asking.hold(self.asker, self.question_id, self._submission.recipient)

    async def __aenter__(self) -> Question:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.shield(self.close())

    async def close(self) -> None:
        """Settle the answer if it was taken, and end the wait."""
        if self._closed:
            return
        self._closed = True
        wait = self._wait
        if self.taken and wait is not None and wait.delivery and not self.is_counted:
            self._asking.tally.delivered(self._caller.via, [wait.delivery])
        keyless = self._submission.draft.idempotency_key is None
        await self._asking.let_go(
            self.asker,
            self.question_id,
            outcome=wait.state if self.taken and wait is not None else "gone",
            answer=wait.delivery if self.taken and wait is not None and not wait.settled else None,
            keep=not keyless,
            abandoned=self._submission if keyless and not self.taken else None,
        )


class Asking:
    """The waits that this process holds open."""

    def __init__(
        self,
        backend: QueueBackend,
        metrics: Metrics,
        tally: Tally,
        owed: Owed,
        alarm: Callable[[float | None], Wakeup],
        vigil: Vigil,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self.tally = tally
        self._owed = owed
        self._alarm = alarm
        self._vigil = vigil
        self._holders: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._holders.total()

    async def ask(self, caller: Principal, submission: Submission, timeout: float) -> Question:
        """Send a question. Cancelled, it ends as soon as the store has accepted or refused it.

        Only then is known whether there is a question whose asker has gone.
        """
        asking = asyncio.ensure_future(self._ask(caller, submission, timeout))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            await asyncio.shield(self._leave(asking))
            raise

    async def _leave(self, asking: Awaitable[Question]) -> None:
        with suppress(HubError):
            await (await asking).close()

    async def _ask(self, caller: Principal, submission: Submission, timeout: float) -> Question:
        """Reserve the reply first, then send the question: a reply can never arrive unseen."""
        sender, question_id = submission.draft.sender, submission.message_id
        seconds = timeout + HOLDER_GRACE_SECONDS
        try:
            wait = await self._hold(sender, question_id, submission.recipient, seconds)
        except TooManyWaits:
            # One of these may be for this very question: then it is no wait more.
            receipt = await self._backend.accepted(submission)
            if receipt is None:
                raise
            return await self._attach(caller, submission, receipt, timeout)
        try:
            submission = replace(submission, asking_since=wait.since)
            receipt = await self._backend.send(submission)
        except BaseException:
            await self.let_go(sender, question_id)
            raise
        if receipt.message_id != question_id:
            # The same question was asked before: its wait is the one that counts.
            await self.let_go(sender, question_id)
            return await self._attach(caller, submission, receipt, timeout)
        self._metrics.wait_opened()
        return Question(self, caller, submission, receipt, timeout)

    async def _attach(
        self, caller: Principal, submission: Submission, receipt: Receipt, timeout: float
    ) -> Question:
        """Wait for the answer to what was asked before."""
        sender, seconds = submission.draft.sender, timeout + HOLDER_GRACE_SECONDS
        await self._hold(sender, receipt.message_id, submission.recipient, seconds)
        self._metrics.wait_opened()
        return Question(self, caller, submission, receipt, timeout)

    async def _hold(self, sender: str, question_id: str, asked: str, seconds: float) -> Wait:
        wait = await self._backend.open_wait(sender, question_id, asked, seconds=seconds)
        self._holders[question_id] += 1
        return wait

    async def watch(self, caller: Principal, sender: str, question_id: str, timeout: float) -> Wait:
        """The wait as soon as it is answered, or as it stands when the time is over."""
        pending = Wait(question_id=question_id, since=0.0)
        with self._alarm(timeout) as alarm, self._vigil.over(caller, alarm.end) as credential:
            watch = self._backend.watch(sender, alarm.wake, question_id=question_id)
            woken_by: str | None = None
            try:
                while True:
                    try:
                        wait = await self._backend.wait(sender, question_id) or pending
                    except BackendUnavailable:  # who waits is woken when the store is back
                        wait = pending
                    credential.check()
                    if wait.state is not WaitState.PENDING and woken_by is not None:
                        self._metrics.woken(woken_by)
                    if wait.state is not WaitState.PENDING or alarm.ended:
                        return wait
                    woken_by = alarm.source if await alarm.wait() else None
            finally:
                watch.close()

    async def hold(self, sender: str, question_id: str, asked: str) -> None:
        """Renew an open wait: to open it again prolongs it."""
        await self._backend.open_wait(sender, question_id, asked, seconds=HELD_SECONDS)

    async def let_go(
        self,
        sender: str,
        question_id: str,
        *,
        outcome: str | None = None,
        answer: Delivery | None = None,
        keep: bool = False,
        abandoned: Submission | None = None,
    ) -> None:
        """Settle the answer that was given; one holder less, and with the last the wait ends."""
        if outcome is not None:
            self._metrics.wait_closed(outcome)
        self._holders[question_id] -= 1
        is_last = self._holders[question_id] <= 0
        if is_last:
            del self._holders[question_id]

        async def end() -> None:
            if answer is not None:
                acked = await self._backend.ack(sender, [answer.message.id], mode="auto")
                self.tally.acked("auto", acked)
            if is_last:
                await self._backend.close_wait(sender, question_id, keep=keep, abandoned=abandoned)

        await self._owed.tell(end)

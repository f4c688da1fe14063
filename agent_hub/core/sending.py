"""How a draft becomes an accepted message: to one, to all, or as a question."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from agent_hub.core.admission import Admission
from agent_hub.core.agent import Status
from agent_hub.core.asking import Asking, Question
from agent_hub.core.bounds import MAX_ASK_SECONDS, check_span
from agent_hub.core.clock import Clock
from agent_hub.core.draft_rules import check_draft, fingerprint
from agent_hub.core.errors import BackendUnavailable, HubError, Invalid, WaitForSelf
from agent_hub.core.mail import Receipt, Submission
from agent_hub.core.message import ALL, Draft, new_message_id
from agent_hub.core.metrics import Metrics
from agent_hub.core.permissions import Permissions
from agent_hub.core.presence import Presence
from agent_hub.core.principal import Principal, Scope
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.registry import Registry
from agent_hub.core.similar import SimilarIds
from agent_hub.core.trail import TRAIL

RECIPIENTS_PER_TOKEN = 50
BROADCAST_SLICE = 256


class Sent(Struct, kw_only=True):
    """The answer to a message to one agent. `status` is the recipient's, None if unknown.

    `similar` names registered ids like the one that nobody has registered.
    """

    receipt: Receipt
    status: Status | None
    similar: list[str]

    @property
    def replayed(self) -> bool:
        return self.receipt.replayed


class Broadcast(Struct, kw_only=True):
    """The answer to a message to ALL: who it was accepted for, and for whom not, by code.

    Both name nobody to a caller who may not see who is registered.
    `expires_at` is when the last copy does, so that a retry by the same key says the same.
    """

    message_id: str
    expires_at: float
    accepted_count: int
    accepted: list[str]
    rejected: list[tuple[str, str]]
    replayed: bool


class Sending:
    """Checks, counts and submits what agents send."""

    def __init__(
        self,
        backend: QueueBackend,
        clock: Clock,
        metrics: Metrics,
        admission: Admission,
        permissions: Permissions,
        presence: Presence,
        registry: Registry,
        asking: Asking,
        default_ttl: float,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._metrics = metrics
        self._admission = admission
        self._permissions = permissions
        self._presence = presence
        self._registry = registry
        self._asking = asking
        self._default_ttl = default_ttl
        self._similar = SimilarIds(presence)

    async def send(self, caller: Principal, draft: Draft) -> Sent | Broadcast:
        """Accept a message to one agent, or a copy for each when it is to ALL."""
        try:
            check_draft(draft)
            if not caller.is_anyone:
                await self._permit(caller, draft)
            self._admission.refuse_when_draining()
            if draft.to == ALL:
                # A copy for each or for none, also when the caller hangs up in the middle.
                broadcast = asyncio.ensure_future(self._broadcast(caller, draft))
                result = await asyncio.shield(broadcast)
                if not caller.may(Scope.LIST):
                    result.accepted, result.rejected = [], []
                return result
            if (counted := self._admission.take(draft.sender)) is not None:
                await counted
            # Before the message: what was accepted is never refused.
            if self._presence.is_stale(draft.sender):
                await self._registry.sign_of_life(draft.sender)
            receipt = await self._backend.send(self._submission(caller, draft))
        except HubError as refusal:
            self._metrics.rejected(refusal.code)
            raise
        if TRAIL.is_kept:
            TRAIL.accepted(caller.via, draft, receipt.message_id)
        return self._sent(caller, receipt, draft.to)

    async def ask(self, caller: Principal, draft: Draft, timeout: float) -> tuple[Sent, Question]:
        """Send a question; the answer is awaited with `Question.answered`.

        `timeout` is 0 to MAX_ASK_SECONDS. Raises WaitForSelf, TooManyWaits, and what `send` does.
        """
        try:
            check_draft(draft)
            if not caller.is_anyone:
                caller.must_have(Scope.READ)  # the reply is read
                await self._permit(caller, draft)
            self._admission.refuse_when_draining()
            _check_question(draft, timeout)
            if (counted := self._admission.take(draft.sender)) is not None:
                await counted
            await self._registry.sign_of_life(draft.sender)
            submission = self._submission(caller, draft, question=True)
            question = await self._asking.ask(caller, submission, timeout)
        except HubError as refusal:
            self._metrics.rejected(refusal.code)
            raise
        if TRAIL.is_kept:
            TRAIL.accepted(caller.via, draft, question.question_id)
        return self._sent(caller, question.receipt, draft.to), question

    async def _permit(self, caller: Principal, draft: Draft) -> None:
        caller.must_have(Scope.BROADCAST if draft.to == ALL else Scope.SEND)
        await self._permissions.act_as(caller, draft.sender)

    def _submission(self, caller: Principal, draft: Draft, *, question: bool = False) -> Submission:
        named = question or draft.idempotency_key is not None
        return Submission(
            draft=draft,
            message_id=new_message_id(),
            recipient=draft.to,
            ttl=self._default_ttl if draft.ttl is None else draft.ttl,
            fingerprint=fingerprint(draft) if named else b"",
            via=caller.via,
        )

    def _sent(self, caller: Principal, receipt: Receipt, to: str) -> Sent:
        recipient = receipt.recipient
        if recipient is None:
            similar = self._similar.to(to) if caller.may(Scope.LIST) else []
            return Sent(receipt=receipt, status=None, similar=similar)
        return Sent(receipt=receipt, status=recipient.status_at(self._clock.time()), similar=[])

    # --- to all ---------------------------------------------------------------------------

    async def _broadcast(self, caller: Principal, draft: Draft) -> Broadcast:
        others = [a.agent_id for a in await self._backend.agents() if a.agent_id != draft.sender]
        cost = 1 + len(others) / RECIPIENTS_PER_TOKEN
        if (counted := self._admission.take(draft.sender, cost)) is not None:
            await counted
        await self._registry.sign_of_life(draft.sender)
        submission = replace(self._submission(caller, draft), broadcast=True)
        replayed = await self._claim(submission)
        result = Broadcast(
            message_id=submission.message_id,
            expires_at=0.0,
            accepted_count=0,
            accepted=[],
            rejected=[],
            replayed=replayed,
        )
        for start in range(0, len(others), BROADCAST_SLICE):  # a large one lets others through
            some = others[start : start + BROADCAST_SLICE]
            # Together: a store that writes first does so once for all of them.
            copies = (self._copy(submission, to, result) for to in some)
            self._reject(zip(some, await asyncio.gather(*copies), strict=True), result)
        if not result.accepted:
            _follow(submission)
            result.expires_at = self._clock.time() + submission.ttl
        return result

    async def _copy(
        self, submission: Submission, recipient: str, result: Broadcast
    ) -> HubError | None:
        """One copy, or why not; that one inbox refuses it does not stop the others."""
        try:
            receipt = await self._backend.send(replace(submission, recipient=recipient))
        except HubError as refusal:
            return refusal
        if not result.accepted:
            _follow(submission)
        result.accepted_count += 1
        result.accepted.append(recipient)
        result.expires_at = max(result.expires_at, receipt.expires_at)
        return None

    def _reject(self, outcomes: Iterable[tuple[str, HubError | None]], result: Broadcast) -> None:
        for recipient, refusal in outcomes:
            if refusal is None:
                continue
            if isinstance(refusal, BackendUnavailable) and not result.accepted:
                raise refusal  # the store is away: a refusal of the whole, to be tried again
            self._metrics.rejected(refusal.code)
            result.rejected.append((recipient, refusal.code))

    async def _claim(self, submission: Submission) -> bool:
        """Take the id that the key stands for, so that a retry fills only the gaps."""
        draft = submission.draft
        if draft.idempotency_key is None:
            return False
        minted = submission.message_id
        submission.message_id = await self._backend.claim(
            draft.sender, draft.idempotency_key, submission.fingerprint, minted
        )
        return submission.message_id != minted


def _follow(submission: Submission) -> None:
    """The trail of a broadcast begins with its first copy, or where it is known that none is."""
    if TRAIL.is_kept:
        TRAIL.accepted(submission.via, submission.draft, submission.message_id)


def _check_question(draft: Draft, timeout: float) -> None:
    if draft.to == ALL:
        raise Invalid.at("/wait", "a message to ALL has no one reply to wait for")
    if draft.to == draft.sender:
        raise WaitForSelf("an agent cannot wait for its own reply")
    check_span("/wait", timeout, MAX_ASK_SECONDS)

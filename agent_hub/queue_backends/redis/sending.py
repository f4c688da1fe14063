"""How a message gets into an inbox once, however often it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from typing import Any

from msgspec.structs import replace

from agent_hub.core.errors import BackendUnavailable, HubError
from agent_hub.core.mail import Receipt, Submission
from agent_hub.core.message import ALL
from agent_hub.queue_backends.redis.codec import agent_of, body_of
from agent_hub.queue_backends.redis.store import Store
from agent_hub.queue_backends.refusals import inbox_full, key_mismatch, sender_share
from agent_hub.redis_way.link import Words

LEASED_LONGER_SECONDS = 3_600
"""A lease may hold a message so long after its expiry; its sender can ask for it until then."""


class Sending:
    """Every send is a record for its sender, the transition, and a look at the register."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys = store.keys
        self._key_notes: dict[str, asyncio.Task[None]] = {}  # sender -> the latest

    async def send(self, submission: Submission) -> Receipt:
        draft = submission.draft
        if draft.idempotency_key is not None and not submission.broadcast:
            return await self._store.shielded(self._send_keyed(submission))
        return self._receipt(submission, *await self._send(submission))

    async def _send(self, submission: Submission) -> tuple[list[Any], bytes | None]:
        """What the script answers, and the recipient as it is registered."""
        is_plain = self._known_by(submission)[0] == "" and submission.draft.reply_to is None
        script = self._usual_script(submission) if is_plain else self._script(submission, epoch="")
        answer, agent = await self._ask(submission, *self._where_to(submission), script)
        if answer[1] == b"unusual":
            answer, agent = await self._ask(submission, self._script(submission, epoch=""))
        if answer[1] == b"absent":
            return await self._store.shielded(self._send_first(submission))
        return answer, agent

    async def _ask(self, submission: Submission, *words: Words) -> tuple[list[Any], bytes | None]:
        """The last one's answer, and the recipient as it is registered then."""
        to = submission.recipient
        *_, answer, agent = await self._store.ask(
            (*words, ("HGET", self._keys.hub("agents"), to)),
            lambda answers: self._store.follow(to, answers[-2][0]),
        )
        return answer, agent

    async def _send_first(self, submission: Submission) -> tuple[list[Any], bytes | None]:
        """Into an inbox that is not there yet."""
        to = submission.recipient
        await self._store.admit(to)
        script = self._script(submission, epoch=secrets.token_hex(8))
        answered = await self._ask(submission, script)
        self._store.index(to)
        return answered

    def _where_to(self, submission: Submission) -> tuple[Words, ...]:
        """Before the message: its sender can ask for all that was accepted."""
        sender, message_id, to = (
            submission.draft.sender,
            submission.message_id,
            submission.recipient,
        )
        span = submission.ttl + self._store.limits.settled_seconds + LEASED_LONGER_SECONDS
        seconds = min(math.ceil(span), 1 << 31)
        if submission.broadcast:
            copies = self._keys.copies(sender, message_id)
            return ("SADD", copies, to), ("EXPIRE", copies, seconds)
        return (("SET", self._keys.sent(sender, message_id), to, "EX", seconds),)

    def _usual_script(self, submission: Submission) -> Words:
        return self._store.script(
            "post",
            submission.recipient,
            *_head_of(submission),
            f"{submission.via} {submission.kind}",
            body_of(submission),
        )

    def _script(self, submission: Submission, *, epoch: str) -> Words:
        once, key = self._known_by(submission)
        since = submission.asking_since
        return self._store.script(
            "send",
            submission.recipient,
            submission.recipient,
            *_head_of(submission),
            "" if since is None else repr(since),
            once,
            submission.fingerprint,
            f"{submission.via} {submission.kind}",
            epoch,
            body_of(submission),
            once=key,
        )

    def _known_by(self, submission: Submission) -> tuple[str, str]:
        """By what else than its id it is known when it comes again, and where that stands."""
        draft, to = submission.draft, submission.recipient
        if draft.idempotency_key is not None and not submission.broadcast:
            return "key", self._keys.claim(to, draft.sender, draft.idempotency_key)
        if submission.asking_since is not None:
            abandoned = self._keys.abandoned(to, draft.sender, submission.fingerprint)
            return "question", abandoned
        return "", self._keys(to, "once")

    def _receipt(self, submission: Submission, answer: list[Any], agent: bytes | None) -> Receipt:
        _, status, *rest = answer
        if status != b"accepted":
            raise self._refusal(submission, status)
        seq, epoch, expires_at, replayed, *first = rest
        if first and first[1] is not None:
            agent = first[1] or None  # who it was when the message was accepted
        return Receipt(
            message_id=first[0].decode() if first else submission.message_id,
            seq=seq,
            epoch=epoch.decode(),
            expires_at=float(expires_at),
            recipient=agent_of(agent),
            replayed=bool(replayed),
        )

    def _refusal(self, submission: Submission, status: bytes) -> HubError:
        draft, to = submission.draft, submission.recipient
        if status == b"mismatch":
            return key_mismatch(draft.idempotency_key or "", to)
        if status == b"full":
            return inbox_full(to)
        if status == b"share":
            return sender_share(draft.sender, to)
        # The sweeper took the inbox away a moment after it was made.
        return BackendUnavailable(f"the inbox of {to} could not be made", retry_after=1.0)

    async def accepted(self, submission: Submission) -> Receipt | None:
        to = submission.recipient
        once, key = self._known_by(replace(submission, asking_since=None))
        script = self._store.script(
            "accepted", to, submission.message_id, once, submission.fingerprint, once=key
        )
        answer, agent = await self._store.ask((script, ("HGET", self._keys.hub("agents"), to)))
        if answer[1] == b"absent":
            return None
        return self._receipt(submission, answer, agent)

    async def abandon(self, sender: str, question_id: str, question: Submission) -> None:
        """Let the same question, asked again, find the one that its asker went away from."""
        to, fingerprint = question.recipient, question.fingerprint
        once = self._keys.abandoned(to, sender, fingerprint)
        (agent,) = await self._store.ask((("HGET", self._keys.hub("agents"), to),))
        await self._store.call("abandon", to, question_id, fingerprint, agent or "", once=once)

    # --- keys -----------------------------------------------------------------------------

    async def _send_keyed(self, submission: Submission) -> Receipt:
        sender, key = submission.draft.sender, submission.draft.idempotency_key
        assert key is not None
        noting = self._key_notes.get(sender)
        if noting is not None:  # it may forget this very key
            await asyncio.shield(noting)
        answer, agent = await self._send(submission)
        receipt = self._receipt(submission, answer, agent)
        if not receipt.replayed:
            self._note_key(submission, key, agent or b"")
        return receipt

    def _note_key(self, submission: Submission, key: str, agent: bytes) -> None:
        sender, to = submission.draft.sender, submission.recipient
        noting = asyncio.ensure_future(
            self._store.shielded(self._finish_key(submission.message_id, sender, to, key, agent))
        )
        self._key_notes[sender] = noting
        noting.add_done_callback(lambda done: self._noted(sender, done))

    def _noted(self, sender: str, noting: asyncio.Task[None]) -> None:
        if self._key_notes.get(sender) is noting:
            del self._key_notes[sender]

    async def _finish_key(
        self, message_id: str, sender: str, recipient: str, key: str, agent: bytes
    ) -> None:
        """What need not be in the transition: without it, a replay says who the recipient is
        now, and one key more than the limit is remembered.
        """
        claim = self._keys.claim(recipient, sender, key)
        with contextlib.suppress(BackendUnavailable):
            await self._store.call("name_recipient", recipient, message_id, agent, once=claim)
            await self._use_key(sender, recipient, key)

    async def _use_key(self, sender: str, recipient: str, key: str) -> None:
        """Count a key among its sender's, and forget those that are too many."""
        surplus = await self._store.call("use_key", sender, recipient, key)
        for place in range(0, len(surplus), 2):
            to, old = surplus[place].decode(), surplus[place + 1].decode()
            if to != ALL:
                await self._store.ask((("UNLINK", self._keys.claim(to, sender, old)),))

    async def claim(self, sender: str, key: str, fingerprint: bytes, message_id: str) -> str:
        return await self._store.shielded(self._claim(sender, key, fingerprint, message_id))

    async def _claim(self, sender: str, key: str, fingerprint: bytes, message_id: str) -> str:
        noting = self._key_notes.get(sender)
        if noting is not None:
            await asyncio.shield(noting)
        status, claimed = await self._store.call("claim", sender, key, fingerprint, message_id)
        if status == b"mismatch":
            raise key_mismatch(key, ALL)
        if status == b"new":
            await self._use_key(sender, ALL, key)
        found: str = claimed.decode()
        return found


def _head_of(submission: Submission) -> tuple[str | int, ...]:
    """What both scripts need to know of a message: id, sender, size, ttl, reply_to, broadcast."""
    draft = submission.draft
    return (
        submission.message_id,
        draft.sender,
        draft.size,
        repr(submission.ttl),
        draft.reply_to or "",
        int(submission.broadcast),
    )

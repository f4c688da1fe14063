"""What makes a send that comes twice one send: keys, and questions abandoned by their asker."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from agent_hub.core.limits import Limits
from agent_hub.core.mail import Receipt
from agent_hub.queue_backends.refusals import key_mismatch


class Claim(Struct, gc=False):
    """What a key stands for, until it is forgotten (wall time)."""

    fingerprint: bytes
    message_id: str
    receipt: Receipt | None
    forget_at: float
    taken_by: str | None = None


class Claims:
    """The claims of all senders. Each table is in the order of forgetting."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_sender: dict[str, dict[tuple[str, str], Claim]] = {}
        self._abandoned: dict[tuple[str, str, bytes], Claim] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_sender.values())) + len(self._abandoned)

    def find(
        self, sender: str, recipient: str, key: str, fingerprint: bytes, now: float
    ) -> Claim | None:
        """The claim of this key. Raises IdempotencyMismatch when it is for other content."""
        claim = self._by_sender.get(sender, {}).get((recipient, key))
        if claim is None or claim.forget_at <= now:
            return None
        if claim.fingerprint != fingerprint:
            raise key_mismatch(key, recipient)
        return claim

    def add(
        self,
        sender: str,
        recipient: str,
        key: str,
        fingerprint: bytes,
        message_id: str,
        now: float,
        receipt: Receipt | None = None,
    ) -> None:
        claims = self._by_sender.setdefault(sender, {})
        claims.pop((recipient, key), None)
        forget_at = now + self._limits.idempotency_seconds
        claims[recipient, key] = Claim(fingerprint, message_id, receipt, forget_at)
        if len(claims) > self._limits.idempotency_keys_per_sender:
            del claims[next(iter(claims))]

    def senders(self) -> list[str]:
        return list(self._by_sender)

    def of_sender(self, sender: str) -> dict[tuple[str, str], Claim]:
        """All claims of one sender, by recipient and key."""
        return self._by_sender.get(sender, {})

    def restore(self, sender: str, claims: dict[tuple[str, str], Claim]) -> None:
        """What one sender's claims were when they were written."""
        self._by_sender[sender] = claims

    def abandoned(self) -> dict[tuple[str, str, bytes], Claim]:
        """What was asked by whom of whom, and the question that it was."""
        return self._abandoned

    def abandon(
        self, sender: str, recipient: str, fingerprint: bytes, receipt: Receipt, now: float
    ) -> None:
        """Remember a question whose asker went away, so that the same one finds it again."""
        question = (sender, recipient, fingerprint)
        self._abandoned.pop(question, None)
        forget_at = now + self._limits.abandoned_wait_seconds
        self._abandoned[question] = Claim(fingerprint, receipt.message_id, receipt, forget_at)

    def take_abandoned(
        self, sender: str, recipient: str, fingerprint: bytes, message_id: str, now: float
    ) -> Claim | None:
        """The abandoned question for the first message that asks it again, and its retries."""
        claim = self._abandoned.get((sender, recipient, fingerprint))
        if claim is None or claim.forget_at <= now or claim.taken_by not in (None, message_id):
            return None
        claim.taken_by = message_id
        return claim

    def sweep(self, now: float) -> None:
        for sender in list(self._by_sender):
            claims = self._by_sender[sender]
            while claims and next(iter(claims.values())).forget_at <= now:
                del claims[next(iter(claims))]
            if not claims:
                del self._by_sender[sender]
        while self._abandoned and next(iter(self._abandoned.values())).forget_at <= now:
            del self._abandoned[next(iter(self._abandoned))]


def again(receipt: Receipt) -> Receipt:
    """The same answer, marked as given before."""
    return replace(receipt, replayed=True)

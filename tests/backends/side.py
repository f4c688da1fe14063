"""One of two backends that are asked the same, and what it calls things that it names itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import asdict, replace

from agent_hub.core.mail import Acked, Backlog, Page, Receipt, Standing, State, Undelivered, Wait
from agent_hub.core.message import HUB, Cursor, Delivery
from agent_hub.core.queue_backend import QueueBackend

UNORDERED = Acked | Backlog | Standing | Undelivered


class Side:
    """A backend whose answers can be compared with those of another."""

    def __init__(self, backend: QueueBackend) -> None:
        self.backend = backend
        self.since: dict[str, float] = {}  # question -> when its wait was opened, here
        self._names: dict[str, str] = {}
        self._own_names: dict[str, str] = {}
        self._epochs: dict[str, int] = {}

    def own(self, message_id: str) -> str:
        """What this side calls a message of the hub's own."""
        return self._own_names.get(message_id, message_id)

    def plain(self, answer: object) -> object:
        """An answer without what each side is free to choose."""
        if isinstance(answer, list):
            plain = [self.plain(one) for one in answer]
            unordered = bool(answer) and isinstance(answer[0], UNORDERED)
            return sorted(plain, key=repr) if unordered else plain
        show = self._shown().get(type(answer))
        return answer if show is None else show(answer)

    def _shown(self) -> dict[type, Callable[[Any], object]]:
        return {
            Receipt: self._receipt,
            Delivery: self._delivery,
            Page: self._page,
            Cursor: lambda cursor: (self._epoch(cursor.epoch), cursor.seq),
            Acked: lambda acked: (self.name(acked.message_id), acked.accepted_at),
            Standing: self._standing,
            Undelivered: self._undelivered,
            Wait: self._wait,
        }

    def _epoch(self, epoch: str) -> int:
        return self._epochs.setdefault(epoch, len(self._epochs))

    def name(self, message_id: str) -> str:
        """What both sides call it."""
        return self._names.get(message_id, message_id)

    def _receipt(self, receipt: Receipt) -> object:
        return {
            **asdict(receipt),
            "epoch": self._epoch(receipt.epoch),
            "message_id": self.name(receipt.message_id),
        }

    def _delivery(self, delivery: Delivery) -> object:
        message, epoch = delivery.message, self._epoch(delivery.epoch)
        if message.sender == HUB:
            name = f"notice {message.to} {epoch} {message.seq}"
            self._names[message.id], self._own_names[name] = name, message.id
            message = replace(message, id=name)
        return message, epoch, delivery.attempt, str(delivery.state)

    def _page(self, page: Page) -> object:
        shown = self.plain(page.deliveries), self.plain(page.cursor)
        return shown, page.total, page.ready, page.recovered

    def _standing(self, standing: Standing) -> object:
        since = standing.since if standing.state is State.ACKED else None
        return {**asdict(standing), "since": since}

    def _undelivered(self, ended: Undelivered) -> object:
        return {**asdict(ended), "message_id": self.name(ended.message_id)}

    def _wait(self, wait: Wait) -> object:
        self.since[wait.question_id] = wait.since
        return wait.question_id, wait.state, self.plain(wait.delivery), wait.settled

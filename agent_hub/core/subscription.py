"""One open stream of deliveries to one agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from secrets import token_hex

from agent_hub.core.asking import Question
from agent_hub.core.clock import Clock
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.message import Cursor, Delivery, message_ids_of
from agent_hub.core.metrics import Metrics
from agent_hub.core.owed import Owed
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.tally import Tally
from agent_hub.core.vigil import Watched
from agent_hub.core.wakeup import POLL, Wakeup

BATCH_BYTES = 256 * 1024
"""About what is written at once: a reader has some seconds for each batch."""
DEFAULT_IN_FLIGHT = 64
MAX_IN_FLIGHT = 1_000


class Subscription:
    """Leases what is owed, within a credit of un-acked messages, until it is closed.

    The reader asks for `batch()` again and again, and says with `written()` what it wrote. What
    it was given stays leased until it is acked, released, or the subscription closes; then the
    rest is ready again in its place. With receipts (the auto mode), `cover()` numbers what was
    written so far, and `confirm()` acks what such a number covers.
    """

    # One for each open socket: a dictionary of so many names would be a kilobyte more.
    __slots__ = (
        "_again",
        "_asked",
        "_backend",
        "_closed",
        "_covers",
        "_credit",
        "_epoch",
        "_in_flight",
        "_leases",
        "_metrics",
        "_on_close",
        "_owed",
        "_questions",
        "_receipt_number",
        "_since",
        "_stream_id",
        "_tally",
        "_uncovered",
        "_via",
        "_wakeup",
        "_watch",
        "agent_id",
        "credential",
        "cursor",
        "dismissed",
        "epoch_changed",
        "receipts",
        "recovered",
        "replaced",
    )

    def __init__(
        self,
        agent_id: str,
        backend: QueueBackend,
        clock: Clock,
        metrics: Metrics,
        tally: Tally,
        owed: Owed,
        *,
        via: str,
        receipts: bool,
        max_in_flight: int,
        since: Cursor | None,
        on_close: Callable[[Subscription], None],
    ) -> None:
        self.agent_id = agent_id
        self.receipts = receipts
        self.cursor: Cursor | None = None
        self.recovered = False
        self.replaced = False
        self.dismissed = False  # its agent is registered no more
        self.epoch_changed = False  # the store lost its inbox
        self.credential: Watched | None = None
        self._backend = backend
        self._metrics = metrics
        self._tally = tally
        self._owed = owed
        self._via = via
        self._epoch: str | None = None
        self._credit = max_in_flight
        self._since = since
        self._on_close = on_close
        self._again: list[Delivery] = []
        self._in_flight: dict[str, str] = {}  # message id -> lease id, in the order of delivery
        self._questions: dict[str, Question] = {}  # message id of the answer -> its question
        self._uncovered: list[str] = []
        self._covers: dict[int, list[str]] = {}  # receipt number -> what it acks
        self._receipt_number = 0
        self._stream_id = token_hex(8)  # no other process or life of this one has the same
        self._leases = 0  # how many it has asked for
        self._asked: str | None = None  # the lease id whose answer did not come yet
        self._wakeup = Wakeup(clock, poll_seconds=backend.poll_seconds)
        self._closed = False
        self._watch = backend.watch(agent_id, self._wakeup.wake)

    async def start(self) -> None:
        """Take the agent's place, find the kept messages newer than the cursor.

        Says in `recovered` whether nothing newer than the cursor is missing.
        """
        await self._backend.occupy(self.agent_id, self._stream_id, self._be_replaced)
        self._wakeup.wake()
        page = await self._backend.look(self.agent_id, None, 1)
        self.cursor = page.cursor
        self._epoch = None if page.cursor is None else page.cursor.epoch
        if page.deliveries:
            # Before the oldest that is owed: whoever resumes from here misses nothing.
            oldest = page.deliveries[0].cursor
            self.cursor = Cursor(oldest.epoch, oldest.seq - 1)
        if self._since is not None:
            kept = await self._backend.kept(self.agent_id, self._since, MAX_IN_FLIGHT)
            self.cursor, self.recovered = self._since, kept.recovered
            self._again = kept.deliveries

    @property
    def has_lost_credential(self) -> bool:
        """Whether it ended because its reader's credential was revoked or has expired."""
        return self.credential is not None and self.credential.is_lost

    @property
    def in_flight(self) -> int:
        """How many messages the reader has and did not ack."""
        return len(self._in_flight)

    async def batch(self) -> list[Delivery]:
        """The next deliveries, as soon as there are any; none at the end of the subscription."""
        if self._again and not self._wakeup.ended:
            return self._take_again()
        while await self._wakeup.wait():
            source = self._wakeup.source
            deliveries = await self._lease_when_possible(source)
            if deliveries:
                self._metrics.woken(source)
                # One batch is bounded in bytes: there may be more at once.
                self._wakeup.wake()
                return deliveries
        return []

    def _take_again(self) -> list[Delivery]:
        """What was acked before, sent again at the reader's wish: marked, and never leased."""
        room = BATCH_BYTES
        again: list[Delivery] = []
        for delivery in self._again:
            room -= delivery.message.size
            if again and room < 0:
                break
            delivery.attempt += 1
            again.append(delivery)
        del self._again[: len(again)]
        return again

    async def _lease_when_possible(self, source: str) -> list[Delivery]:
        """A store that is away wakes its readers when it is back: until then there is nothing."""
        try:
            if source == POLL and len(self._in_flight) >= self._credit:
                await self._recount()
            return await self._lease()
        except BackendUnavailable:
            return []

    async def _recount(self) -> None:
        """Find credit for what was acked where nobody could tell: at a door of another process."""
        leases = set(self._in_flight.values()) - {q.question_id for q in self._questions.values()}
        for lease_id in leases:
            held = {delivery.message.id for delivery in await self._held_by(lease_id)}
            gone = [m for m, lease in self._in_flight.items() if lease == lease_id]
            self._no_longer_in_flight(message_id for message_id in gone if message_id not in held)

    async def _held_by(self, lease_id: str) -> list[Delivery]:
        """What a lease holds; one that is over must not take anything new."""
        return await self._backend.lease(
            self.agent_id, lease_id, limit=0, max_bytes=0, seconds=None, stream_id=self._stream_id
        )

    async def _lease(self) -> list[Delivery]:
        credit = self._credit - len(self._in_flight)
        if credit <= 0:
            return []
        # A call that was cut off may have leased: the same id again shows what it holds.
        self._leases += self._asked is None
        lease_id = self._asked or f"{self._stream_id}-{self._leases}"
        self._asked = lease_id
        deliveries = await self._backend.lease(
            self.agent_id,
            lease_id,
            limit=credit,
            max_bytes=BATCH_BYTES,
            seconds=None,
            stream_id=self._stream_id,
        )
        self._asked = None
        if deliveries and self._is_another_life(deliveries[0].epoch):
            self.epoch_changed = True
            self.end()
            return []
        for delivery in deliveries:
            self._in_flight[delivery.message.id] = lease_id
        # Closed while the store was asked, it has given back what this took.
        return [] if self._closed else deliveries

    def _is_another_life(self, epoch: str) -> bool:
        """The store lost this inbox and began it anew: no cursor of the reader's holds any more."""
        self._epoch = self._epoch or epoch
        return epoch != self._epoch

    def written(self, deliveries: Sequence[Delivery]) -> None:
        """These were written to the reader's stream, in this order."""
        self._tally.delivered(self._via, deliveries)
        if self.receipts:
            leased = (delivery.message.id for delivery in deliveries)
            self._uncovered += [held for held in leased if held in self._in_flight]

    # --- receipts -------------------------------------------------------------------------

    def cover(self) -> int | None:
        """A number for all that was written and has none yet; None while one is on its way.

        One receipt at a time: under load a single one covers many batches.
        """
        if self._covers or not self._uncovered:
            return None
        self._receipt_number += 1
        self._covers[self._receipt_number] = self._uncovered
        self._uncovered = []
        return self._receipt_number

    async def confirm(self, number: int) -> None:
        """The reader proved that it read all that this number covers.

        Raises BackendUnavailable, and will then ask for another proof.
        """
        covered = self._covers.pop(number, None)
        if covered is None:
            return
        try:
            await self._ack(covered, "auto")
        except BackendUnavailable:
            self._uncovered = covered + self._uncovered
            raise

    # --- the reader's own acks ------------------------------------------------------------

    async def ack(self, message_ids: Sequence[str]) -> None:
        """Settle messages by id; unknown ids are passed over."""
        await self._ack(message_ids_of(message_ids), "manual")

    async def _ack(self, message_ids: Sequence[str], mode: str) -> None:
        acked = await self._backend.ack(self.agent_id, message_ids, mode=mode)
        self._tally.acked(mode, acked)
        await self.acked_elsewhere(message_ids)

    async def acked_elsewhere(self, message_ids: Sequence[str]) -> None:
        """These were acked, here or at another door: they use up no credit any more."""
        self._no_longer_in_flight(message_ids)
        for message_id in message_ids if self._questions else ():
            await self._close_question(message_id, taken=True)

    async def adopt(self, answer: Delivery, question: Question) -> None:
        """Take an answer that was written to this stream as one more delivery in flight.

        On a stream that closed meanwhile nobody will ack it: it is given back.
        """
        if self._closed:
            await question.close()
            return
        message_id = answer.message.id
        self._in_flight[message_id] = question.question_id
        self._questions[message_id] = question
        question.is_counted = True
        self.written([answer])
        with suppress(BackendUnavailable):  # it is held again before long
            await self.hold()

    async def hold(self) -> None:
        """Keep the answers in flight reserved: here a lease lives as long as the connection."""
        for question in list(self._questions.values()):
            await question.hold()

    async def renew(self) -> None:
        """Keep the place, and with it what is in flight."""
        if not (self._closed or await self._backend.renew(self.agent_id, self._stream_id)):
            self._be_replaced()

    async def _close_question(self, message_id: str, *, taken: bool) -> None:
        question = self._questions.pop(message_id, None)
        if question is not None:
            question.taken = taken
            await question.close()

    async def release(self, message_ids: Iterable[str]) -> None:
        """Give messages back as a failure: after too many of these a message is dead."""
        by_lease: dict[str, list[str]] = {}
        for message_id in message_ids:
            lease_id = self._in_flight.get(message_id)
            if lease_id is not None:
                by_lease.setdefault(lease_id, []).append(message_id)
        for lease_id, held in by_lease.items():
            # Only then: what the store did not give back is given back at the end.
            await self._backend.release(self.agent_id, lease_id, held, failure=True)
            # Leased again meanwhile, it is in flight still.
            self._no_longer_in_flight(m for m in held if self._in_flight.get(m) == lease_id)
            for message_id in held if self._questions else ():
                await self._close_question(message_id, taken=False)

    def _no_longer_in_flight(self, message_ids: Iterable[str]) -> None:
        for message_id in message_ids:
            self._in_flight.pop(message_id, None)
        self._wakeup.wake()

    # --- the end --------------------------------------------------------------------------

    def _be_replaced(self) -> None:
        self.replaced = True
        self.end()

    async def replace(self) -> None:
        """Make way for another subscription, with all that is in flight."""
        self.replaced = True
        await self.close()

    def end(self) -> None:
        """Let `batch` return; what is in flight stays so until `close`."""
        self._wakeup.end()

    async def close(self) -> None:
        """Give back what is in flight, without blame, and let go of the place."""
        if self._closed:
            return
        self._closed = True
        self._watch.close()
        self.end()
        self._on_close(self)
        self._in_flight.clear()
        for message_id in list(self._questions):
            await self._close_question(message_id, taken=False)
        await self._owed.tell(self._leave)

    async def _leave(self) -> None:
        await self._backend.vacate(self.agent_id, self._stream_id)
        # The connection was a sign of life until now: the grace of its agent begins here.
        await self._backend.touch_agent(self.agent_id)

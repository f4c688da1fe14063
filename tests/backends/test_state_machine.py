"""A backend and a reference side by side: whatever is asked, both give the same answer.

The memory backend is compared with the oracle, any other backend with the memory backend.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import HubError
from agent_hub.core.limits import Limits
from agent_hub.core.mail import Page, Receipt, State, Submission, Undelivered, Wait
from agent_hub.core.message import ALL, Cursor, Delivery, Draft
from agent_hub.core.queue_backend import RENEW_SECONDS
from agent_hub.queue_backends.memory import MemoryBackend
from tests.backends.factories import FACTORIES, Factory
from tests.backends.oracle import Oracle
from tests.backends.side import Side
from tests.clock import ManualClock

T = TypeVar("T")

LIMITS = Limits(
    inbox_messages=7,
    inbox_bytes=60,
    kept_messages=3,
    settled_messages=1_000_000,
    settled_seconds=1e9,
    failures=2,
    notices_per_inbox=2,
    ids_per_notice=2,
    notice_ttl=30.0,
    empty_inbox_seconds=40.0,
    idempotency_seconds=20.0,
    idempotency_keys_per_sender=2,
    abandoned_wait_seconds=10.0,
    waits_per_agent=2,
    registration_seconds=50.0,
    taking_seconds=15.0,
)

AGENTS = st.sampled_from(["alpha", "beta", "gamma"])
TEXTS = st.sampled_from(["", "x", "éé", "a longer one"])
KEYS = st.sampled_from([None, None, None, "k1", "k2", "k3"])
SPANS = st.sampled_from([1.0, 5.0, 10.0, 60.0])


class SideBySide(RuleBasedStateMachine):
    """Three agents write, read, ask and fail; time passes."""

    factories: ClassVar[tuple[Factory, Factory]]

    messages = Bundle("messages")
    leases = Bundle("leases")
    questions = Bundle("questions")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.sides: list[Side] = []
        self.count = 0
        self.cursors: list[Callable[[Side], Cursor]] = []
        self.seqs: dict[object, list[int]] = defaultdict(list)
        self.first_seqs: dict[object, int] = defaultdict(int)
        self.accepted: dict[tuple[str, str], object] = {}
        self.streams: dict[str, str] = {}

    @initialize(drop_oldest=st.booleans())
    def begin(self, drop_oldest: bool) -> None:
        limits = replace(LIMITS, drop_oldest=drop_oldest)
        for make in self.factories:
            backend = make(self.clock, limits)
            self._run(backend.open())
            self.sides.append(Side(backend))

    def teardown(self) -> None:
        try:
            if self.sides:
                self.everything_agrees()
                for seqs in self.seqs.values():
                    assert sorted(set(seqs)) == list(range(1, max(seqs) + 1)), "seq is dense"
        finally:
            for side in self.sides:
                self._run(side.backend.close())
            self.loop.close()

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def _attempt(self, side: Side, call: Callable[[Side], Coroutine[Any, Any, object]]) -> object:
        try:
            return self._run(call(side))
        except HubError as refusal:
            return type(refusal)

    def both(self, call: Callable[[Side], Coroutine[Any, Any, object]]) -> Any:
        """Ask both, compare, and return the subject's own answer."""
        answers = [self._attempt(side, call) for side in self.sides]
        plain = [side.plain(answer) for side, answer in zip(self.sides, answers, strict=True)]
        assert plain[0] == plain[1]
        return answers[0]

    def _number(self) -> int:
        self.count += 1
        return self.count

    # --- writing --------------------------------------------------------------------------

    def _submission(self, text: str, **fields: Any) -> Submission:
        draft = Draft(
            sender=fields["sender"],
            to=ALL if fields.get("broadcast") else fields["to"],
            text=text,
            reply_to=fields.get("reply_to"),
            idempotency_key=fields.get("key"),
        )
        return Submission(
            draft=draft,
            message_id=fields.get("message_id") or f"m_{self._number()}",
            recipient=fields["to"],
            ttl=fields["ttl"],
            broadcast=fields.get("broadcast", False),
            fingerprint=text.encode(),
            via="rest" if fields["sender"] == "alpha" else "mcp",
        )

    def _send(self, submission: Submission, *, asking: bool = False) -> Any:
        def call(side: Side) -> Coroutine[Any, Any, object]:
            since = side.since[submission.message_id] if asking else None
            return side.backend.send(replace(submission, asking_since=since))

        receipt = self.both(call)
        if not isinstance(receipt, Receipt):
            return multiple()
        epoch, seq = receipt.epoch, receipt.seq
        if not receipt.replayed:
            assert seq not in self.seqs[epoch]
            self.seqs[epoch].append(seq)
            self.accepted[receipt.message_id, submission.recipient] = epoch
        return receipt.message_id

    @rule(target=messages, sender=AGENTS, to=AGENTS, text=TEXTS, ttl=SPANS, key=KEYS)
    def send(self, sender: str, to: str, text: str, ttl: float, key: str | None) -> Any:
        submission = self._submission(text, sender=sender, to=to, ttl=ttl, key=key)
        self.both(lambda side: side.backend.accepted(submission))
        accepted = self._send(submission)
        self.both(lambda side: side.backend.accepted(submission))
        if self.count % 3 == 0:
            self._send(submission)  # a blind retry
        return accepted

    @rule(target=messages, sender=AGENTS, text=TEXTS, ttl=SPANS, key=KEYS)
    def broadcast(self, sender: str, text: str, ttl: float, key: str | None) -> Any:
        message_id = f"m_{self._number()}"
        if key is not None:
            claimed = self.both(
                lambda side: side.backend.claim(sender, key, text.encode(), message_id)
            )
            if not isinstance(claimed, str):
                return multiple()
            message_id = claimed
        for to in {"alpha", "beta", "gamma"} - {sender}:
            self._send(
                self._submission(
                    text,
                    sender=sender,
                    to=to,
                    ttl=ttl,
                    key=key,
                    broadcast=True,
                    message_id=message_id,
                )
            )
        return message_id

    # --- reading --------------------------------------------------------------------------

    @rule(
        target=leases,
        agent_id=AGENTS,
        limit=st.integers(1, 4),
        max_bytes=st.sampled_from([1, 10, 1_000]),
        seconds=st.sampled_from([None, 3.0, 8.0, 30.0]),
        stream=st.sampled_from([None, None, "held", "lost"]),
    )
    def lease(
        self, agent_id: str, limit: int, max_bytes: int, seconds: float | None, stream: str | None
    ) -> Any:
        lease_id = f"lease-{self._number()}"
        stream_id = self.streams.get(agent_id, "none") if stream == "held" else stream

        def call(side: Side) -> Coroutine[Any, Any, list[Delivery]]:
            return side.backend.lease(
                agent_id,
                lease_id,
                limit=limit,
                max_bytes=max_bytes,
                seconds=None if stream_id else seconds,
                stream_id=stream_id,
            )

        deliveries = self.both(call)
        if self.count % 4 == 0:
            assert self.both(call) == deliveries  # a blind retry
        for delivery in deliveries:
            self._seen(delivery)
            if delivery.attempt == 1:
                assert delivery.message.seq > self.first_seqs[delivery.epoch]
                self.first_seqs[delivery.epoch] = delivery.message.seq
        names = [self.sides[0].name(delivery.message.id) for delivery in deliveries]
        return (agent_id, lease_id, names) if names else multiple()

    @rule(lease=leases)
    def lease_again(self, lease: tuple[str, str, list[str]]) -> None:
        agent_id, lease_id, _ = lease
        self.both(
            lambda side: side.backend.lease(
                agent_id, lease_id, limit=0, max_bytes=9_999, seconds=None
            )
        )

    def _seen(self, delivery: Delivery) -> None:
        self.seqs[delivery.epoch].append(delivery.message.seq)

    @rule(agent_id=AGENTS, again=st.booleans())
    def occupy(self, agent_id: str, again: bool) -> None:
        stream_id = self.streams.get(agent_id) if again else None
        stream_id = self.streams[agent_id] = stream_id or f"stream{self._number()}"
        self.both(lambda side: side.backend.occupy(agent_id, stream_id, lambda: None))

    @rule(agent_id=AGENTS, late=st.booleans())
    def vacate(self, agent_id: str, late: bool) -> None:
        stream_id = "gone" if late else self.streams.pop(agent_id, "none")
        for _ in range(2):  # the second one is late, too
            self.both(lambda side: side.backend.vacate(agent_id, stream_id))

    def _renew(self) -> None:
        for agent_id, stream_id in self.streams.items():
            assert self.both(lambda side: side.backend.renew(agent_id, stream_id))  # noqa: B023
            assert not self.both(lambda side: side.backend.renew(agent_id, "other"))  # noqa: B023

    @rule(lease=leases, data=st.data())
    def ack_what_was_read(self, lease: tuple[str, str, list[str]], data: st.DataObject) -> None:
        agent_id, _, names = lease
        self._ack(agent_id, data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)))

    @rule(agent_id=AGENTS, names=st.lists(messages, min_size=1, max_size=3))
    def ack_by_id(self, agent_id: str, names: list[str]) -> None:
        self._ack(agent_id, names)

    def _ack(self, agent_id: str, names: list[str]) -> None:
        mode = "auto" if len(names) > 1 else "manual"
        self.both(
            lambda side: side.backend.ack(agent_id, [side.own(name) for name in names], mode=mode)
        )

    @rule(lease=leases, data=st.data(), failure=st.booleans())
    def release(
        self, lease: tuple[str, str, list[str]], data: st.DataObject, failure: bool
    ) -> None:
        agent_id, lease_id, names = lease
        some = data.draw(st.none() | st.lists(st.sampled_from(names), min_size=1, max_size=3))
        self.both(
            lambda side: side.backend.release(
                agent_id,
                lease_id,
                None if some is None else [side.own(name) for name in some],
                failure=failure,
            )
        )

    @rule(agent_id=AGENTS)
    def fail_all(self, agent_id: str) -> None:
        lease_id = f"lease-{self._number()}"
        self.both(
            lambda side: side.backend.lease(
                agent_id, lease_id, limit=99, max_bytes=9_999, seconds=None
            )
        )
        self.both(lambda side: side.backend.release(agent_id, lease_id, None, failure=True))

    @rule(lease=leases, seconds=SPANS)
    def extend(self, lease: tuple[str, str, list[str]], seconds: float) -> None:
        agent_id, lease_id, names = lease
        self.both(
            lambda side: side.backend.extend(
                agent_id, lease_id, [side.own(name) for name in names], seconds=seconds
            )
        )

    @rule(agent_id=AGENTS, limit=st.integers(0, 5))
    def look(self, agent_id: str, limit: int) -> None:
        self._page(lambda side: side.backend.look(agent_id, None, limit))

    def _page(self, call: Callable[[Side], Coroutine[Any, Any, object]]) -> None:
        page = self.both(call)
        for delivery in page.deliveries:
            self._seen(delivery)

    @rule(agent_id=AGENTS, seq=st.integers(0, 12), only_kept=st.booleans())
    def look_since(self, agent_id: str, seq: int, only_kept: bool) -> None:
        def call(side: Side) -> Coroutine[Any, Any, Page]:
            return look(side, Cursor(epochs[self.sides.index(side)], seq))

        def look(side: Side, cursor: Cursor) -> Coroutine[Any, Any, Page]:
            if only_kept:
                return side.backend.kept(agent_id, cursor, 4)
            return side.backend.look(agent_id, cursor, 4)

        pages = [self._run(side.backend.look(agent_id, None, 0)) for side in self.sides]
        epochs = [page.cursor.epoch if page.cursor else "none" for page in pages]
        self._page(call)
        if seq % 4 == 0:
            epochs = ["another", "another"]
            self._page(call)

    @rule(agent_id=AGENTS, name=messages)
    def standings(self, agent_id: str, name: str) -> None:
        self.both(lambda side: side.backend.standings(agent_id, name))

    # --- asking ---------------------------------------------------------------------------

    @rule(
        target=questions,
        asker=AGENTS,
        asked=AGENTS,
        text=TEXTS,
        key=KEYS,
        seconds=SPANS,
        ttl=SPANS,
    )
    def ask(
        self, asker: str, asked: str, text: str, key: str | None, seconds: float, ttl: float
    ) -> Any:
        if asker == asked:
            return multiple()
        submission = self._submission(text, sender=asker, to=asked, ttl=ttl, key=key)
        question_id = submission.message_id
        if not self._open(asker, question_id, asked, seconds):
            return multiple()
        accepted = self._send(submission, asking=True)
        if accepted == question_id:
            return (submission, seconds)
        self.both(lambda side: side.backend.close_wait(asker, question_id))
        if isinstance(accepted, str):
            earlier = replace(submission, message_id=accepted)
            self._open(asker, accepted, asked, seconds)
            return (earlier, seconds)
        return multiple()

    def _open(self, asker: str, question_id: str, asked: str, seconds: float) -> bool:
        opened = self.both(
            lambda side: side.backend.open_wait(asker, question_id, asked, seconds=seconds)
        )
        return isinstance(opened, Wait)

    @rule(question=questions)
    def open_again(self, question: tuple[Submission, float]) -> None:
        submission, seconds = question
        sender, recipient = submission.draft.sender, submission.recipient
        self._open(sender, submission.message_id, recipient, seconds)

    @rule(target=messages, question=questions, text=TEXTS, ttl=SPANS, naming=st.booleans())
    def answer(
        self, question: tuple[Submission, float], text: str, ttl: float, naming: bool
    ) -> Any:
        submission, _ = question
        return self._send(
            self._submission(
                text,
                sender=submission.recipient,
                to=submission.draft.sender,
                ttl=ttl,
                reply_to=submission.message_id if naming else None,
            )
        )

    @rule(question=questions, ack=st.booleans())
    def hear(self, question: tuple[Submission, float], ack: bool) -> None:
        submission, _ = question
        asker = submission.draft.sender
        wait = self.both(lambda side: side.backend.wait(asker, submission.message_id))
        if wait is not None and wait.delivery is not None and ack:
            self._ack(asker, [wait.delivery.message.id])

    @rule(question=consumes(questions), keep=st.booleans(), abandon=st.booleans())
    def stop_waiting(self, question: tuple[Submission, float], keep: bool, abandon: bool) -> None:
        self._close(question, keep, abandon)

    @rule(question=questions, keep=st.booleans())
    def stop_waiting_for_now(self, question: tuple[Submission, float], keep: bool) -> None:
        self._close(question, keep, abandon=False)

    def _close(self, question: tuple[Submission, float], keep: bool, abandon: bool) -> None:
        submission, _ = question
        self.both(
            lambda side: side.backend.close_wait(
                submission.draft.sender,
                submission.message_id,
                keep=keep,
                abandoned=submission if abandon else None,
            )
        )

    # --- time and the register ------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        while seconds > RENEW_SECONDS:
            self.clock.pass_by(RENEW_SECONDS)
            seconds -= RENEW_SECONDS
            self._renew()
        self.clock.pass_by(seconds)
        self._renew()

    @rule()
    def sweep(self) -> None:
        self.both(lambda side: side.backend.sweep())
        self.both(lambda side: side.backend.totals())
        self.both(lambda side: side.backend.backlogs())

    @rule()
    def tell_senders(self) -> None:
        self.both(lambda side: side.backend.sweep())
        self.both(lambda side: side.backend.undelivered(1_000))
        ended = [self._endings(side) for side in self.sides]
        for pair in zip(*ended, strict=True):
            if pair[0].notify:
                self._notice(dict(zip(self.sides, pair, strict=True)))
                self.look(pair[0].sender, 99)  # both get to know what they call the notice
        for side, endings in zip(self.sides, ended, strict=True):
            self._run(side.backend.noted(endings))

    def _endings(self, side: Side) -> list[Undelivered]:
        """In an order that both have: of what ended together, each is free to report any first."""
        return sorted(
            self._run(side.backend.undelivered(1_000)), key=lambda one: repr(side.plain(one))
        )

    def _notice(self, ended: dict[Side, Undelivered]) -> None:
        for _ in range(1 + self.count % 2):  # or a blind retry
            self.both(lambda side: side.backend.notice(ended[side]))

    @rule(
        agent_id=AGENTS,
        status=st.sampled_from([None, Status.BUSY, Status.IDLE]),
        owner=st.sampled_from([None, None, "one", "another"]),
    )
    def register_or_touch(self, agent_id: str, status: Status | None, owner: str | None) -> None:
        if status is None:
            self.both(lambda side: side.backend.put_agent(Agent(agent_id=agent_id, owner=owner)))
        self.both(lambda side: side.backend.touch_agent(agent_id, status))
        self.both(lambda side: side.backend.agents())

    @rule(agent_id=AGENTS)
    def remove(self, agent_id: str) -> None:
        self.both(lambda side: side.backend.remove_agent(agent_id))

    # --- what always holds ----------------------------------------------------------------

    @invariant()
    @precondition(lambda self: self.sides)
    def nothing_accepted_is_lost(self) -> None:
        sums = self._run(self.sides[0].backend.totals())
        settled = sums.acked + sums.expired + sums.dead + sums.dropped
        assert sums.accepted == settled + sums.ready + sums.leased

    def everything_agrees(self) -> None:
        self.both(lambda side: side.backend.sweep())
        sums = self.both(lambda side: side.backend.totals())
        backlogs = self.both(lambda side: side.backend.backlogs())
        assert sum(one.ready for one in backlogs) == sums.ready
        assert sum(one.leased for one in backlogs) == sums.leased
        shown = Counter[State]()
        for agent_id in ("alpha", "beta", "gamma"):
            self._inbox_agrees(agent_id)
        for message_id, recipient in self.accepted:
            shown.update(self._states(message_id, recipient))
        for state, most in (
            (State.READY, sums.ready),
            (State.LEASED, sums.leased),
            (State.ACKED, sums.acked),
            (State.EXPIRED, sums.expired),
            (State.DEAD, sums.dead),
            (State.DROPPED, sums.dropped),
        ):
            assert shown[state] <= most  # the hub's notices are counted too

    def _inbox_agrees(self, agent_id: str) -> None:
        self._page(lambda side: side.backend.look(agent_id, None, 1_000))
        self._page(lambda side: side.backend.kept(agent_id, Cursor("none", 0), 1_000))

    def _states(self, message_id: str, recipient: str) -> list[State]:
        standings = self.both(lambda side: side.backend.standings(recipient, message_id))
        assert len(standings) <= 1, "a message is in one state"
        return [standing.state for standing in standings]


def compare(factory: Factory) -> type[SideBySide]:
    class Comparison(SideBySide):
        factories = (factory, Oracle if factory is MemoryBackend else MemoryBackend)

    return Comparison


QUICK = settings(
    max_examples=500,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=150, stateful_step_count=100)
LONGEST = settings(QUICK, max_examples=2_000, stateful_step_count=100)
FEWER = {"redis": 5, "redis-cluster": 10}
"""By so much: there each call is a way to another process, and all the checks have ten minutes."""


@pytest.mark.parametrize("name", sorted(FACTORIES))
def test_a_backend_answers_as_its_reference(name: str) -> None:
    run_state_machine_as_test(compare(FACTORIES[name]), settings=of(QUICK, name))


@pytest.mark.parametrize(
    "length",
    [
        pytest.param(LONG, id="long", marks=pytest.mark.slow),
        pytest.param(LONGEST, id="longest", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("name", sorted(FACTORIES))
def test_a_backend_answers_as_its_reference_in_long_runs(name: str, length: settings) -> None:
    run_state_machine_as_test(compare(FACTORIES[name]), settings=of(length, name))


def of(length: settings, name: str) -> settings:
    return settings(length, max_examples=length.max_examples // FEWER.get(name, 1))

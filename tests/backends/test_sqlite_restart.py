"""What a SQLite store knows again after a stop, and after a crash."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
import pytest
from msgspec.structs import replace

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import IdempotencyMismatch, InboxFull, SenderShare, TooManyInboxes
from agent_hub.core.limits import Limits
from agent_hub.core.mail import Standing, State, WaitState
from agent_hub.core.message import ALL, Cursor, Delivery, new_message_id
from agent_hub.queue_backends.records import Sums
from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.backends.mail import (
    attempts,
    balance,
    fail,
    ids,
    kill,
    letter,
    send,
    state_of,
    take,
    take_and_ack,
    tell_senders,
    texts,
)
from tests.backends.sqlite_files import all_written, as_after_a_crash, store
from tests.clock import ManualClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


async def test_what_was_accepted_is_there_again_in_order(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        receipts = await send(backend, "a", "b", "c")
    async with store(path, clock) as backend:
        deliveries = await take(backend)
        assert texts(deliveries) == ["a", "b", "c"]
        assert ids(deliveries) == [receipt.message_id for receipt in receipts]
        assert [delivery.cursor for delivery in deliveries] == [r.cursor for r in receipts]
        assert attempts(deliveries) == [2, 2, 2]  # nobody knows who has seen them
        [more] = await send(backend, "d")
        assert (more.epoch, more.seq) == (receipts[0].epoch, 4)


async def test_a_crash_loses_nothing_that_a_send_returned_for(
    path: Path, clock: ManualClock
) -> None:
    async with store(path, clock) as backend:
        for number in range(20):
            await send(backend, f"{number}")
            async with store(as_after_a_crash(path), clock) as after:
                assert len(await take(after)) == number + 1


async def test_what_was_in_hands_is_ready_again_without_a_failure(
    path: Path, clock: ManualClock
) -> None:
    async with store(path, clock) as backend:
        await send(backend, "a", "b")
        await take(backend, seconds=30, limit=1)
    async with store(path, clock) as backend:
        assert texts(await take(backend)) == ["a", "b"]


async def test_what_was_acked_stays_acked_and_readable(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        [receipt, _] = await send(backend, "a", "b")
        await take(backend, limit=1)
        await backend.ack("alpha", [receipt.message_id])
    async with store(path, clock) as backend:
        start = Cursor(receipt.epoch, 0)
        page = await backend.kept("alpha", start, 10)
        assert (texts(page.deliveries), page.recovered) == (["a"], True)
        assert texts(await take(backend)) == ["b"]
        assert await state_of(backend, receipt.message_id) is State.ACKED


async def test_failures_are_counted_on(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        [receipt] = await send(backend, "poison")
    for _ in range(Limits().failures):
        async with store(path, clock) as backend:
            await fail(backend, 1)
    async with store(path, clock) as backend:
        await fail(backend, 1)
        assert await state_of(backend, receipt.message_id) is State.DEAD


async def test_endings_are_known_and_told_once(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        await backend.put_agent(Agent(agent_id="alpha"))
        [dying] = await send(backend, "poison")
        await kill(backend)
        [expiring] = await send(backend, "late", ttl=5)
        await clock.advance(5)
        await backend.sweep()
    async with store(path, clock) as backend:
        assert await state_of(backend, expiring.message_id) is State.EXPIRED
        assert await state_of(backend, dying.message_id) is State.DEAD
        assert not (await backend.look("alpha", Cursor(dying.epoch, 0), 1)).recovered
        assert len(await backend.undelivered(10)) == 2
        await tell_senders(backend)
    async with store(path, clock) as backend:
        await tell_senders(backend)
        [notice] = await take(backend, "beta")
        assert notice.message.text == "2 messages to alpha not delivered (1 dead, 1 expired)"
        await balance(backend)


async def test_what_expired_while_the_hub_was_down_is_expired(
    path: Path, clock: ManualClock
) -> None:
    async with store(path, clock) as backend:
        [receipt] = await send(backend, "late", ttl=5)
    await clock.advance(6)
    async with store(path, clock) as backend:
        assert await take(backend) == []
        assert await state_of(backend, receipt.message_id) is State.EXPIRED
        [ended] = await backend.undelivered(10)
        assert ended.message_id == receipt.message_id


async def test_a_full_inbox_is_still_full(path: Path, clock: ManualClock) -> None:
    limits = Limits(inbox_messages=4)
    async with store(path, clock, limits) as backend:
        await send(backend, "a", "b")
        await send(backend, "c", sender="gamma")
        await send(backend, "d", sender="delta")
    async with store(path, clock, limits) as backend:
        with pytest.raises((InboxFull, SenderShare)):
            await send(backend, "e", sender="epsilon")


async def test_the_register_is_known(path: Path, clock: ManualClock) -> None:
    alpha = Agent(agent_id="alpha", name="Alpha", capabilities=("x", "y"), metadata=b'{"a":1}')
    async with store(path, clock) as backend:
        await backend.put_agent(alpha)
        await backend.put_agent(Agent(agent_id="beta"))
        await clock.advance(3)
        await backend.touch_agent("alpha", Status.BUSY)
        await backend.remove_agent("beta")
        before = await backend.agents()
    async with store(path, clock) as backend:
        assert await backend.agents() == before
        assert (before[0].name, before[0].status) == ("Alpha", Status.BUSY)
        assert await backend.put_agent(alpha) is False


async def test_an_idempotency_key_still_stands_for_its_message(
    path: Path, clock: ManualClock
) -> None:
    async with store(path, clock) as backend:
        first = await backend.send(letter("a", key="k"))
        claimed = await backend.claim("beta", "all", b"x", "m_1")
    async with store(path, clock) as backend:
        again = await backend.send(letter("a", key="k"))
        assert (again.message_id, again.seq, again.replayed) == (first.message_id, 1, True)
        with pytest.raises(IdempotencyMismatch):
            await backend.send(letter("other", key="k"))
        assert await backend.claim("beta", "all", b"x", "m_2") == claimed
        await clock.advance(600)
        assert not (await backend.send(letter("other", key="k"))).replayed


async def test_a_key_answers_who_the_recipient_is_after_the_file_was_written_anew(
    path: Path, clock: ManualClock
) -> None:
    async with store(path, clock, compact_at=1) as backend:
        await backend.put_agent(Agent(agent_id="alpha", name="Alpha"))
        first = await backend.send(letter("a", key="k"))
        for _ in range(10):
            await all_written(backend)
    async with store(path, clock) as backend:
        assert await backend.send(letter("a", key="k")) == replace(first, replayed=True)


async def test_a_retry_by_its_id_is_known(path: Path, clock: ManualClock) -> None:
    submission = letter("a")
    async with store(path, clock) as backend:
        first = await backend.send(submission)
    async with store(path, clock) as backend:
        again = await backend.send(submission)
        assert (again.cursor, again.replayed) == (first.cursor, True)


async def test_a_question_that_the_restart_cut_off_is_found_again(
    path: Path, clock: ManualClock
) -> None:
    question, again = letter("?"), letter("?")
    async with store(path, clock) as backend:
        await backend.open_wait("beta", question.message_id, "alpha", seconds=60)
        question.asking_since = clock.time()
        await backend.send(question)
        await all_written(backend)
        crashed = as_after_a_crash(path)
    async with store(crashed, clock) as backend:
        await backend.send(letter("!", sender="alpha", to="beta", reply_to=question.message_id))
        again.asking_since = clock.time()
        receipt = await backend.send(again)
        assert (receipt.message_id, receipt.replayed) == (question.message_id, True)
        wait = await backend.open_wait("beta", question.message_id, "alpha", seconds=60)
        assert wait.state is WaitState.REPLIED


async def test_an_answer_that_was_taken_is_given_again(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        question = letter("?", key="k")
        await backend.open_wait("beta", question.message_id, "alpha", seconds=60)
        await backend.send(question)
        await backend.send(letter("!", sender="alpha", to="beta", reply_to=question.message_id))
        wait = await backend.wait("beta", question.message_id)
        assert wait is not None
        assert wait.delivery is not None
        await backend.ack("beta", [wait.delivery.message.id])
        await backend.close_wait("beta", question.message_id, keep=True)
    async with store(path, clock) as backend:
        wait = await backend.open_wait("beta", question.message_id, "alpha", seconds=60)
        assert (wait.state, wait.settled) == (WaitState.REPLIED, True)
        assert wait.delivery is not None
        assert wait.delivery.message.text == "!"


async def test_an_answer_that_was_read_as_mail_is_given_again_when_it_is_kept_no_more(
    path: Path, clock: ManualClock
) -> None:
    limits = Limits(kept_messages=1)
    async with store(path, clock, limits) as backend:
        answer = letter("!", sender="alpha", to="beta", reply_to="m_question")
        await backend.send(answer)
        await take_and_ack(backend, "beta")
        first = await backend.open_wait("beta", "m_question", "alpha", seconds=60)
        await send(backend, "x", sender="gamma", to="beta")
        await take_and_ack(backend, "beta")
        assert await backend.open_wait("beta", "m_question", "alpha", seconds=60) == first
    async with store(path, clock, limits) as backend:
        assert await backend.open_wait("beta", "m_question", "alpha", seconds=60) == first


async def test_an_inbox_that_went_stays_away(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        [first] = await send(backend, "x", ttl=1)
        for _ in range(3):
            await clock.advance(400)
            await backend.sweep()
    async with store(path, clock) as backend:
        assert (await backend.look("alpha", None, 1)).cursor is None
        [second] = await send(backend, "x")
        assert (second.seq, second.epoch != first.epoch) == (1, True)


# --- anything -----------------------------------------------------------------------------

AGENTS = ("alpha", "beta", "gamma")
LIMITS = Limits(
    inbox_messages=20,
    kept_messages=4,
    settled_messages=8,
    failures=1,
    notices_per_inbox=2,
    idempotency_keys_per_sender=5,
)


class Wanderer:
    """Does what agents do, at random but always the same for one seed."""

    def __init__(self, backend: SqliteBackend, clock: ManualClock, seed: int) -> None:
        self.backend = backend
        self.clock = clock
        self.random = Random(seed)
        self.sent: list[str] = []
        self.leases: list[tuple[str, str]] = []

    async def step(self) -> None:
        ways = [self.send, self.send, self.send, self.read, self.read, self.drop, self.rest]
        ways += [self.broadcast, self.register, self.look_after]
        await self.random.choice(ways)()

    async def send(self) -> None:
        sender, to = self.random.sample(AGENTS, 2)
        key = self.random.choice([None, "k1", "k2"])
        text = "x" * self.random.choice([1, 10, 1_000]) if key is None else key
        ttl = self.random.choice([5.0, 60.0, 3_600.0])
        try:
            receipt = await self.backend.send(letter(text, sender=sender, to=to, key=key, ttl=ttl))
        except (InboxFull, SenderShare):
            return
        self.sent.append(receipt.message_id)

    async def broadcast(self) -> None:
        message_id = await self.backend.claim("gamma", "b", b"", new_message_id())
        self.sent.append(message_id)
        for to in ("alpha", "beta"):
            copy = letter("all", sender="gamma", to=to, broadcast=True, message_id=message_id)
            with suppress(InboxFull, SenderShare):
                await self.backend.send(copy)

    async def read(self) -> None:
        agent_id, lease_id = self.random.choice(AGENTS), new_message_id()
        self.leases.append((agent_id, lease_id))
        taken = await take(self.backend, agent_id, lease_id=lease_id, limit=4)
        some = self.random.sample(ids(taken), len(taken) // 2)
        await self.backend.ack(agent_id, some)

    async def drop(self) -> None:
        agent_id, lease_id = self.random.choice(AGENTS), new_message_id()
        await take(self.backend, agent_id, lease_id=lease_id, limit=3)
        failure = self.random.random() < 0.7
        await self.backend.release(agent_id, lease_id, None, failure=failure)

    async def let_go(self) -> None:
        """As a restart does: what is held past its time expires when it is given back."""
        while self.leases:
            agent_id, lease_id = self.leases.pop()
            await self.backend.release(agent_id, lease_id, None, failure=False)

    async def rest(self) -> None:
        self.clock.pass_by(self.random.choice([0.5, 3.0, 30.0]))

    async def register(self) -> None:
        agent_id = self.random.choice(AGENTS)
        if self.random.random() < 0.3:
            await self.backend.remove_agent(agent_id)
        else:
            await self.backend.put_agent(Agent(agent_id=agent_id))
        await self.backend.touch_agent(agent_id, Status.IDLE)

    async def look_after(self) -> None:
        if self.random.random() < 0.5:
            await self.backend.sweep()
        else:
            await tell_senders(self.backend)


def shown(delivery: Delivery) -> object:
    """Nobody holds anything after a restart, and all that is owed was handed out."""
    if delivery.state == State.ACKED:
        return delivery
    return delivery.message, delivery.epoch


def stood(standing: Standing) -> object:
    if standing.state in (State.READY, State.LEASED):
        return standing.accepted_at, standing.expires_at
    return standing


async def known(backend: SqliteBackend, sent: list[str]) -> dict[str, object]:
    """All that is promised to outlive the process."""
    await backend.sweep()
    sums = await backend.totals()
    told: dict[str, object] = {
        "agents": await backend.agents(),
        "undelivered": await backend.undelivered(1_000),
        "sums": (sums.accepted, sums.acked, sums.expired, sums.dead, sums.kept, sums.inboxes),
        "by": (sums.accepted_by, sums.acked_by),
        "owed": sums.ready + sums.leased,
    }
    for agent_id in AGENTS:
        whole = await backend.look(agent_id, None, 1_000)
        start = Cursor(whole.cursor.epoch if whole.cursor else "none", 0)
        for since in (start, Cursor(start.epoch, 3), whole.cursor):
            page = await backend.look(agent_id, since, 1_000)
            told[f"{agent_id} since {since}"] = (
                [shown(delivery) for delivery in page.deliveries],
                page.cursor,
                page.recovered,
            )
        for message_id in sent:
            standings = await backend.standings(agent_id, message_id)
            told[f"{agent_id} {message_id}"] = {one.recipient: stood(one) for one in standings}
    for key in ("k1", "k2"):
        for sender in AGENTS:
            for to in AGENTS:
                claim = backend._claims.of_sender(sender).get((to, key))
                told[f"{sender} {to} {key}"] = claim and (claim.message_id, claim.forget_at)
    told["broadcast"] = bool(backend._claims.of_sender("gamma").get((ALL, "b")))
    return told


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("compact_at", [2_000, 1 << 30], ids=["compacting", "growing"])
async def test_whatever_was_done_is_known_again(
    path: Path, clock: ManualClock, seed: int, compact_at: int
) -> None:
    await wander(path, clock, seed, compact_at, steps=400)


@pytest.mark.parametrize("seed", range(200, 203))
async def test_a_crash_at_any_moment_leaves_every_message_somewhere(
    path: Path, clock: ManualClock, seed: int
) -> None:
    async with store(path, clock, LIMITS, compact_at=1_500) as backend:
        wanderer = Wanderer(backend, clock, seed)
        for _ in range(100):
            await wanderer.step()
            accepted = (await backend.totals()).accepted
            async with store(as_after_a_crash(path), clock, LIMITS) as after:
                await balance(after)
                assert (await after.totals()).accepted == accepted


async def test_what_an_older_journal_counted_is_counted_on(path: Path, clock: ManualClock) -> None:
    sums = msgspec.msgpack.decode(msgspec.msgpack.encode([5, 3, 1, 0, 0]), type=Sums)
    async with store(path, clock) as backend:
        backend._recall_sums(sums)
        await send(backend, "one")
        told = await backend.totals()
    assert told.accepted_by == {("unknown", "unknown"): 5, ("test", "direct"): 1}
    assert told.acked_by == {"unknown": 3}


@pytest.mark.parametrize(
    "seed",
    [
        *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(100, 108)),
        *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(108, 140)),
    ],
)
async def test_whatever_was_done_is_known_again_after_long_runs(
    path: Path, clock: ManualClock, seed: int
) -> None:
    await wander(path, clock, seed, 2_000, steps=2_000)


@pytest.mark.parametrize("seed", range(4, 8))
async def test_whatever_made_way_is_known_again(path: Path, clock: ManualClock, seed: int) -> None:
    limits = replace(LIMITS, inbox_messages=3, drop_oldest=True)
    await wander(path, clock, seed, 2_000, steps=400, limits=limits)


async def wander(
    path: Path,
    clock: ManualClock,
    seed: int,
    compact_at: int,
    steps: int,
    limits: Limits = LIMITS,
) -> None:
    async with store(path, clock, limits, compact_at=compact_at) as backend:
        wanderer = Wanderer(backend, clock, seed)
        for _ in range(steps // 100):
            for _ in range(100):
                await wanderer.step()
            await wanderer.let_go()
            sent = wanderer.sent[-60:]
            before = await known(backend, sent)
            await all_written(backend)
            await backend.remove_agent("last-one")
            async with store(as_after_a_crash(path), clock, limits) as after:
                assert await known(after, sent) == before
        sent = wanderer.sent
        before = await known(backend, sent)
    async with store(path, clock, limits) as after:
        assert await known(after, sent) == before


async def test_how_many_agents_an_owner_has_is_known_again(path: Path, clock: ManualClock) -> None:
    limits = Limits(agents_per_owner=2)
    async with store(path, clock, limits) as backend:
        for agent_id in ("a", "b", "c"):
            await backend.put_agent(Agent(agent_id=agent_id, owner="one"))
            if agent_id == "a":
                await backend.remove_agent("a")
    async with store(path, clock, limits) as backend:
        with pytest.raises(TooManyInboxes):
            await backend.put_agent(Agent(agent_id="d", owner="one"))
        assert not await backend.put_agent(Agent(agent_id="b", owner="one"))
        await backend.remove_agent("b")
        await backend.put_agent(Agent(agent_id="d", owner="one"))

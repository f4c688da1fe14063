"""Every call may come twice: what is the same send, and for how long."""

from __future__ import annotations

import pytest

from agent_hub.core.agent import Agent
from agent_hub.core.errors import IdempotencyMismatch
from agent_hub.core.limits import Limits
from agent_hub.core.mail import State
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import attempts, balance, letter, send, state_of, take, take_and_ack, texts
from tests.clock import ManualClock
from tests.conftest import OpenBackend


async def test_the_same_message_id_in_the_same_inbox_is_one_message(
    backend: QueueBackend,
) -> None:
    submission = letter("a")
    first = await backend.send(submission)
    again = await backend.send(submission)
    assert (first.replayed, again.replayed) == (False, True)
    assert (again.message_id, again.seq, again.epoch, again.expires_at) == (
        first.message_id,
        first.seq,
        first.epoch,
        first.expires_at,
    )
    assert texts(await take(backend)) == ["a"]
    assert (await backend.totals()).accepted == 1


async def test_the_same_message_id_is_known_wherever_the_message_stands(
    backend: QueueBackend, clock: ManualClock
) -> None:
    submission = letter("a", ttl=10)
    first = await backend.send(submission)
    await take(backend, lease_id="mine")
    assert (await backend.send(submission)).replayed
    await backend.ack("alpha", [first.message_id])
    assert (await backend.send(submission)).replayed
    await clock.advance(10)
    again = await backend.send(submission)
    assert (again.replayed, again.seq) == (True, 1)
    assert await take(backend) == []


async def test_the_same_message_id_in_other_inboxes_is_a_broadcast(backend: QueueBackend) -> None:
    copy = letter("a", broadcast=True)
    await backend.send(copy)
    for to, replayed in (("alpha", True), ("gamma", False), ("gamma", True)):
        receipt = await backend.send(letter("a", to=to, broadcast=True, message_id=copy.message_id))
        assert (receipt.replayed, receipt.seq) == (replayed, 1)
    assert (await backend.totals()).accepted == 2


async def test_the_same_key_and_content_gives_the_first_receipt(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.put_agent(Agent(agent_id="alpha"))
    first = await backend.send(letter("a", key="k"))
    await take_and_ack(backend)
    await backend.remove_agent("alpha")
    await clock.advance(599)
    again = await backend.send(letter("a", key="k"))
    assert again.replayed
    assert (again.message_id, again.seq, again.expires_at) == (
        first.message_id,
        first.seq,
        first.expires_at,
    )
    assert again.recipient == first.recipient is not None
    assert await take(backend) == []


async def test_the_same_key_with_other_content_is_refused(backend: QueueBackend) -> None:
    await backend.send(letter("a", key="k"))
    with pytest.raises(IdempotencyMismatch):
        await backend.send(letter("b", key="k"))
    assert texts(await take(backend)) == ["a"]
    assert (await backend.send(letter("a", key="k"))).replayed


async def test_a_key_is_forgotten_after_ten_minutes(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.send(letter("a", key="k"))
    await clock.advance(600)
    assert not (await backend.send(letter("b", key="k"))).replayed
    with pytest.raises(IdempotencyMismatch):
        await backend.send(letter("a", key="k"))


async def test_a_key_is_of_one_sender_and_one_recipient(backend: QueueBackend) -> None:
    await backend.send(letter("a", key="k"))
    assert not (await backend.send(letter("b", key="k", to="gamma"))).replayed
    assert not (await backend.send(letter("c", key="k", sender="gamma"))).replayed
    assert await backend.claim("beta", "k", b"d", "m_all") == "m_all"


async def test_a_refused_send_leaves_its_key_free(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=2))
    [receipt] = await send(backend, "x")
    with pytest.raises(Exception, match="places left"):
        await backend.send(letter("a", key="k"))
    await backend.ack("alpha", [receipt.message_id])
    assert not (await backend.send(letter("b", key="k"))).replayed


async def test_the_newest_10000_keys_of_a_sender_are_known(backend: QueueBackend) -> None:
    async def claim(number: int) -> str:
        return await backend.claim("beta", f"k{number}", b"", f"m_{number}")

    for number in range(10_000):
        await claim(number)
    assert await backend.claim("beta", "k0", b"", "m_new") == "m_0"
    await claim(10_000)
    assert await backend.claim("beta", "k1", b"", "m_new") == "m_1"
    assert await backend.claim("beta", "k0", b"", "m_new") == "m_new"


async def test_a_key_used_anew_is_among_the_newest(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(idempotency_keys_per_sender=2))
    await backend.send(letter("x", key="first"))
    await clock.advance(300)
    await backend.send(letter("x", key="second"))
    await clock.advance(300)
    await backend.send(letter("y", key="first"))
    await backend.send(letter("x", key="third"))
    assert (await backend.send(letter("y", key="first"))).replayed
    assert (await backend.send(letter("x", key="third"))).replayed
    assert not (await backend.send(letter("z", key="second"))).replayed


async def test_the_keys_of_one_sender_push_out_those_of_no_other(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(idempotency_keys_per_sender=2))
    await backend.send(letter("x", sender="gamma", key="k"))
    for number in range(3):
        await backend.send(letter("x", key=f"k{number}"))
    assert (await backend.send(letter("x", sender="gamma", key="k"))).replayed
    assert (await backend.send(letter("x", key="k2"))).replayed
    assert not (await backend.send(letter("x", key="k0"))).replayed


async def test_the_key_of_a_broadcast_stands_for_one_message_id(
    backend: QueueBackend, clock: ManualClock
) -> None:
    assert await backend.claim("beta", "k", b"words", "m_first") == "m_first"
    assert await backend.claim("beta", "k", b"words", "m_second") == "m_first"
    with pytest.raises(IdempotencyMismatch):
        await backend.claim("beta", "k", b"other", "m_third")
    await clock.advance(599)
    assert await backend.claim("beta", "k", b"words", "m_second") == "m_first"
    await clock.advance(1)
    assert await backend.claim("beta", "k", b"other", "m_third") == "m_third"


async def test_a_broadcast_that_comes_again_fills_only_the_gaps(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=2))
    [blocking] = await send(backend, "x", to="gamma")
    copy = letter("all", key="k", broadcast=True)
    to_gamma = letter("all", key="k", to="gamma", broadcast=True, message_id=copy.message_id)
    await backend.send(copy)
    with pytest.raises(Exception, match="places left"):
        await backend.send(to_gamma)
    await backend.ack("gamma", [blocking.message_id])
    assert (await backend.send(copy)).replayed
    assert not (await backend.send(to_gamma)).replayed
    assert texts(await take(backend)) == ["all"]
    assert texts(await take(backend, "gamma")) == ["all"]


async def test_keys_are_forgotten_by_a_sweep_without_harm(
    backend: QueueBackend, clock: ManualClock
) -> None:
    await backend.send(letter("a", key="old"))
    await clock.advance(300)
    await backend.send(letter("b", key="young"))
    await clock.advance(300)
    await backend.sweep()
    assert not (await backend.send(letter("c", key="old"))).replayed
    assert (await backend.send(letter("b", key="young"))).replayed


async def test_calls_that_come_twice_change_nothing_more(backend: QueueBackend) -> None:
    submission = letter("a", key="k")
    for _ in range(2):
        await backend.send(submission)
    first = await take(backend, lease_id="mine", seconds=30)
    assert await take(backend, lease_id="mine", seconds=30) == first
    for released in (1, 0):
        assert await backend.release("alpha", "mine", None, failure=True) == released
    for _ in range(2):
        assert attempts(await take(backend, lease_id="second")) == [2]
    for acked in (1, 0):
        assert len(await backend.ack("alpha", [submission.message_id])) == acked
    assert await state_of(backend, submission.message_id) is State.ACKED
    await balance(backend)

"""What an inbox holds, what is refused, what is dropped when that was chosen."""

from __future__ import annotations

import asyncio

import pytest

from agent_hub.core.agent import Agent
from agent_hub.core.errors import HubError, InboxFull, SenderShare, TooManyInboxes
from agent_hub.core.limits import Limits
from agent_hub.core.mail import State
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.mail import (
    balance,
    ids,
    letter,
    send,
    state_of,
    take,
    take_and_ack,
    tell_senders,
    texts,
)
from tests.clock import ManualClock
from tests.conftest import OpenBackend


async def fill(backend: QueueBackend, count: int, *, to: str = "alpha") -> None:
    """So many messages, each of a sender of its own."""
    for number in range(count):
        await send(backend, "x", sender=f"sender-{number}", to=to)


async def test_an_inbox_holds_1000_messages(backend: QueueBackend) -> None:
    await fill(backend, 1_000)
    with pytest.raises(InboxFull) as refused:
        await send(backend, "x")
    assert refused.value.retry_after
    assert (await backend.totals()).accepted == 1_000


async def test_one_sender_gets_half_of_it(backend: QueueBackend) -> None:
    await send(backend, *["x"] * 500)
    with pytest.raises(SenderShare) as refused:
        await send(backend, "x")
    assert refused.value.retry_after
    await send(backend, "room for others", sender="gamma")


async def test_a_sender_has_no_more_messages_than_there_are_free_places(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(inbox_messages=10))
    await fill(backend, 6)
    await send(backend, "1", "2")  # with 4 and 3 places free
    with pytest.raises(SenderShare):
        await send(backend, "3")  # 2 are free, and 2 are mine
    await send(backend, "x", sender="gamma")
    await send(backend, "x", sender="delta")
    with pytest.raises(InboxFull):
        await send(backend, "x", sender="epsilon")


async def test_a_share_is_of_one_inbox(backend: QueueBackend) -> None:
    await send(backend, *["x"] * 500)
    await send(backend, "x", to="gamma")


@pytest.mark.parametrize("step", ["leased", "acked", "expired"])
async def test_a_place_is_taken_until_the_message_is_over(
    open_backend: OpenBackend, clock: ManualClock, step: str
) -> None:
    backend = await open_backend(Limits(inbox_messages=2))
    await send(backend, "x", ttl=10)
    if step == "acked":
        await take_and_ack(backend)
    elif step == "expired":
        await clock.advance(10)
    else:
        await take(backend)
        with pytest.raises(SenderShare):
            await send(backend, "y")
        return
    await send(backend, "y")


async def test_an_inbox_holds_8_mib(backend: QueueBackend) -> None:
    kib_256 = "x" * (256 * 1024 - 2)  # beside it the payload "{}"
    await send(backend, *[kib_256] * 32)
    with pytest.raises(InboxFull):
        await send(backend, "", sender="gamma")
    await take_and_ack(backend)
    await send(backend, kib_256)


async def test_a_message_that_just_fits_is_taken(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_bytes=10))
    await send(backend, "éé")  # six bytes
    with pytest.raises(InboxFull):
        await send(backend, "123")
    await send(backend, "12")


async def test_a_refusal_changes_nothing(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=2))
    await send(backend, "x")
    before = await backend.totals()
    refused = letter("y", key="k")
    with pytest.raises(SenderShare):
        await backend.send(refused)
    assert await backend.totals() == before
    assert await backend.standings("beta", refused.message_id) == []
    await take_and_ack(backend)
    receipt = await backend.send(refused)
    assert (receipt.seq, receipt.replayed) == (2, False)


async def test_a_broadcast_copy_counts_like_any_message(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=2))
    await backend.send(letter("x", broadcast=True))
    with pytest.raises(SenderShare):
        await backend.send(letter("x", broadcast=True))


# --- drop the oldest ----------------------------------------------------------------------


async def test_with_drop_oldest_a_flood_hits_itself(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=4, drop_oldest=True))
    await send(backend, "of another", sender="gamma")
    await send(backend, "1", "2", "3", "4", "5")
    assert texts((await backend.look("alpha", None, 10)).deliveries) == ["of another", "4", "5"]
    sums = await backend.totals()
    assert (sums.accepted, sums.dropped, sums.ready) == (6, 3, 3)
    await balance(backend)


async def test_with_drop_oldest_a_full_inbox_lets_go_of_its_oldest(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(inbox_messages=4, drop_oldest=True))
    await fill(backend, 4)
    await send(backend, "new")
    shown = (await backend.look("alpha", None, 10)).deliveries
    assert [delivery.message.sender for delivery in shown] == [
        "sender-1",
        "sender-2",
        "sender-3",
        "beta",
    ]


async def test_what_was_dropped_is_told_like_an_expiry(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=2, drop_oldest=True))
    [first, second] = await send(backend, "1", "2")
    assert await state_of(backend, first.message_id, "beta") is State.DROPPED
    assert await state_of(backend, second.message_id, "beta") is State.READY
    [ended] = await backend.undelivered(10)
    assert (ended.message_id, ended.state, ended.notify) == (
        first.message_id,
        State.DROPPED,
        True,
    )
    await tell_senders(backend)
    [notice] = await take(backend, "beta")
    assert notice.message.type == "hub.undelivered"


async def test_a_dropped_message_is_a_gap(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=2, drop_oldest=True))
    [seen] = await send(backend, "0")
    await take_and_ack(backend)
    [dropped, _] = await send(backend, "1", "2")
    assert not (await backend.look("alpha", seen.cursor, 10)).recovered
    assert (await backend.look("alpha", dropped.cursor, 10)).recovered


async def test_what_somebody_reads_is_never_dropped(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_messages=4, drop_oldest=True))
    await fill(backend, 4)
    held = await take(backend)
    with pytest.raises(InboxFull):
        await send(backend, "new")
    assert len(await backend.ack("alpha", ids(held))) == 4


async def test_with_drop_oldest_bytes_are_made_room_for_too(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_bytes=30, drop_oldest=True))
    await send(backend, "12345678", sender="gamma")
    await send(backend, "12345678", "12345678")
    await send(backend, "123456789")
    shown = (await backend.look("alpha", None, 10)).deliveries
    assert texts(shown) == ["12345678", "123456789"]
    assert shown[0].message.sender == "gamma"


async def test_nothing_is_dropped_for_a_message_that_is_refused_all_the_same(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(inbox_messages=4, drop_oldest=True))
    await send(backend, "1", "2")
    await take(backend)
    await send(backend, "x", sender="gamma")
    await send(backend, "x", sender="delta")
    before = await backend.totals()
    # Two of beta's are held by a reader: dropping the others' would not give it its share.
    with pytest.raises((InboxFull, SenderShare)):
        await send(backend, "3")
    assert await backend.totals() == before


async def test_nothing_is_dropped_for_a_message_that_never_fits(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(inbox_bytes=20, drop_oldest=True))
    await send(backend, "12345678")
    with pytest.raises(InboxFull):
        await send(backend, "x" * 19)
    assert texts(await take(backend)) == ["12345678"]


# --- inboxes of nobody --------------------------------------------------------------------


async def test_inboxes_of_unregistered_ids_are_limited(open_backend: OpenBackend) -> None:
    backend = await open_backend(Limits(unregistered_inboxes=2))
    await backend.put_agent(Agent(agent_id="known"))
    await send(backend, "x", to="one")
    await send(backend, "x", to="two")
    refusing = [letter("x", to="three"), letter("x", to="four", broadcast=True)]
    for submission in refusing:
        with pytest.raises(TooManyInboxes) as refused:
            await backend.send(submission)
        assert refused.value.retry_after
    await send(backend, "more", to="two")
    await send(backend, "x", to="known")
    await backend.put_agent(Agent(agent_id="two"))
    await send(backend, "x", to="three")


async def test_10000_unregistered_inboxes_are_the_default(backend: QueueBackend) -> None:
    await asyncio.gather(
        *(backend.send(letter("x", to=f"id-{number}")) for number in range(10_000))
    )
    with pytest.raises(HubError) as refused:
        await send(backend, "x", to="one-more")
    assert refused.value.code == "too_many_inboxes"


async def test_an_inbox_of_nobody_that_went_makes_room_for_another(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(unregistered_inboxes=1))
    await send(backend, "x", to="one", ttl=1)
    for _ in range(3):
        await clock.advance(300)
        await backend.sweep()
    await send(backend, "x", to="two")
    with pytest.raises(TooManyInboxes):
        await send(backend, "x", to="one")


async def test_an_agent_that_leaves_its_inbox_behind_counts_again(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(unregistered_inboxes=1))
    await backend.put_agent(Agent(agent_id="one"))
    await send(backend, "x", to="one")
    await backend.remove_agent("one")
    with pytest.raises(TooManyInboxes):
        await send(backend, "x", to="two")


async def test_an_empty_inbox_of_nobody_goes_after_ten_minutes(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [first] = await send(backend, "x", ttl=10)
    await take_and_ack(backend)
    await clock.advance(10)  # until then it is kept
    await backend.sweep()
    await clock.advance(599)
    await backend.sweep()
    assert (await backend.look("alpha", None, 1)).cursor == first.cursor
    await clock.advance(1)
    await backend.sweep()
    assert (await backend.totals()).inboxes == 0
    assert (await backend.look("alpha", None, 1)).cursor is None
    assert await backend.standings("beta", first.message_id) == []
    [second] = await send(backend, "x")
    assert second.seq == 1
    assert second.epoch != first.epoch
    assert not (await backend.look("alpha", first.cursor, 1)).recovered


@pytest.mark.parametrize("reason", ["registered", "mail", "leased", "kept", "waiting", "watched"])
async def test_an_inbox_that_is_of_use_stays(
    backend: QueueBackend, clock: ManualClock, reason: str
) -> None:
    [receipt] = await send(backend, "x", ttl=10)
    if reason == "registered":
        await backend.put_agent(Agent(agent_id="alpha"))
    elif reason == "mail":
        await send(backend, "y", ttl=3_600)
    elif reason == "leased":
        await take(backend, seconds=3_600)
    elif reason == "kept":
        [delivery] = await send(backend, "y", ttl=3_600)
        await backend.ack("alpha", [delivery.message_id])
    elif reason == "waiting":
        await backend.open_wait("alpha", "m_question", "beta", seconds=3_600)
    else:
        backend.watch("alpha", lambda: None)
    for _ in range(4):
        await clock.advance(300)
        await backend.sweep()
    assert (await backend.look("alpha", None, 1)).cursor is not None
    assert (await send(backend, "z"))[0].epoch == receipt.epoch


async def test_use_in_between_lets_the_ten_minutes_begin_again(
    backend: QueueBackend, clock: ManualClock
) -> None:
    [first] = await send(backend, "x", ttl=1)
    for _ in range(3):
        await clock.advance(400)
        await backend.sweep()
        [again] = await send(backend, "x", ttl=1)
        await backend.sweep()
        assert again.epoch == first.epoch


async def register(backend: QueueBackend, *agent_ids: str, owner: str | None = None) -> None:
    for agent_id in agent_ids:
        await backend.put_agent(Agent(agent_id=agent_id, owner=owner))


async def test_a_hub_takes_so_many_agents_and_no_more(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(agents=2))
    await register(backend, "a", "b")
    with pytest.raises(TooManyInboxes) as refused:
        await register(backend, "c")
    assert refused.value.retry_after
    assert await backend.agent("c") is None
    await register(backend, "a", "b")  # who is known is not refused
    await register(backend, "a", owner="one")
    await backend.remove_agent("b")
    await register(backend, "c")
    await clock.advance(24 * 3_600)
    await backend.sweep()
    await register(backend, "d", "e")
    with pytest.raises(TooManyInboxes):
        await register(backend, "f", owner="one")


async def test_of_many_who_register_at_once_as_many_as_there_is_room_for_are_taken(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(agents=3, agents_per_owner=2))
    coming = [Agent(agent_id=f"a{number}", owner="one") for number in range(4)]
    coming += [Agent(agent_id=f"b{number}") for number in range(4)]
    coming += [Agent(agent_id="a0", owner="one", name="again")]
    outcomes = await asyncio.gather(*map(backend.put_agent, coming), return_exceptions=True)
    taken = [
        agent.agent_id
        for agent, outcome in zip(coming, outcomes, strict=True)
        if not isinstance(outcome, TooManyInboxes)
    ]
    assert taken == ["a0", "a1", "b0", "a0"]
    assert outcomes[-1] is False
    assert len(await backend.agents()) == 3


async def test_one_owner_has_so_many_agents_and_leaves_room_for_others(
    open_backend: OpenBackend, clock: ManualClock
) -> None:
    backend = await open_backend(Limits(agents=20, agents_per_owner=2))
    await register(backend, "a", "b", owner="one")
    with pytest.raises(TooManyInboxes):
        await register(backend, "c", owner="one")
    await register(backend, "a", "b", owner="one")
    await register(backend, "a", "b")  # and stay the owner's
    await backend.touch_agent("a")
    await register(backend, "c", "d", owner="another")
    await register(backend, "e", "f", "g")
    with pytest.raises(TooManyInboxes):
        await register(backend, "e", owner="one")
    await backend.remove_agent("a")
    await backend.remove_agent("a")
    await register(backend, "h", owner="one")
    await clock.advance(24 * 3_600)
    await backend.sweep()
    await register(backend, "i", "j", owner="one")
    with pytest.raises(TooManyInboxes):
        await register(backend, "k", owner="one")


async def test_an_agent_of_nobody_that_becomes_somebodys_counts_among_the_owners(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(agents=4, agents_per_owner=2))
    await register(backend, "a", "b", "c", "d")
    await register(backend, "a", "b", owner="one")
    with pytest.raises(TooManyInboxes) as refused:
        await register(backend, "c", owner="one")
    assert refused.value.retry_after
    left = await backend.agent("c")
    assert left is not None
    assert left.owner is None
    await register(backend, "a", "b", owner="one")
    await register(backend, "c", owner="another")
    await backend.remove_agent("a")
    await register(backend, "d", owner="one")


async def test_of_many_agents_of_nobody_that_are_claimed_at_once_one_owner_gets_its_share(
    open_backend: OpenBackend,
) -> None:
    backend = await open_backend(Limits(agents_per_owner=2))
    ids = ("a", "b", "c")
    await register(backend, *ids)
    renewed = [Agent(agent_id=agent_id, name="renewed") for agent_id in ids]
    claimed = [Agent(agent_id=agent_id, owner="one") for agent_id in (*ids, "a", "new")]
    outcomes = await asyncio.gather(
        *map(backend.put_agent, renewed + claimed), return_exceptions=True
    )
    assert outcomes[:5] == [False] * 5
    assert [type(outcome) for outcome in outcomes[5:]] == [TooManyInboxes, bool, TooManyInboxes]
    owners = {agent.agent_id: agent.owner for agent in await backend.agents()}
    assert owners == {"a": "one", "b": "one", "c": None}


async def test_in_the_end_nothing_is_left(backend: QueueBackend, clock: ManualClock) -> None:
    await fill(backend, 20)
    await fill(backend, 20, to="gamma")
    await backend.put_agent(Agent(agent_id="alpha"))
    await take_and_ack(backend)
    for _ in range(30):
        await clock.advance(3_600)
        await tell_senders(backend)
    sums = await backend.totals()
    assert (sums.inboxes, sums.ready, sums.leased, sums.kept) == (0, 0, 0, 0)
    assert await backend.agents() == []
    await balance(backend)

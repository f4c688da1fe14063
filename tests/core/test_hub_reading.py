"""Reading without a stream: look, receive, settle, and where a message stands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agent_hub.core.bounds import LOOKED_AT_BYTES
from agent_hub.core.errors import BackendUnavailable, Forbidden, Invalid, NotFound
from agent_hub.core.hub import Hub
from agent_hub.core.mail import Acked, State
from agent_hub.core.principal import ORDINARY, Principal
from agent_hub.core.queue_backend import QueueBackend
from tests.clock import ManualClock, settle
from tests.core.calls import ANYONE, Counted, cancel, receive, register, send, soon, texts
from tests.core.conftest import OpenHub


async def test_a_look_takes_nothing(hub: Hub) -> None:
    await send(hub, "a")
    for _ in range(2):
        page = await hub.look(ANYONE, "alpha")
        assert (texts(page.deliveries), page.total) == (["a"], 1)
    assert texts((await receive(hub)).deliveries) == ["a"]
    assert (await hub.look(ANYONE, "alpha")).total == 0


async def test_a_look_with_a_cursor_shows_what_is_kept_too(hub: Hub) -> None:
    await send(hub, "a")
    cursor = (await receive(hub)).cursor
    await send(hub, "b")
    await receive(hub)
    await send(hub, "c")
    page = await hub.look(ANYONE, "alpha", since=str(cursor))
    assert texts(page.deliveries) == ["b", "c"]
    assert page.recovered
    page = await hub.look(ANYONE, "alpha", since="0000:0", limit=1)
    assert (texts(page.deliveries), page.total, page.recovered) == (["a"], 3, False)


async def test_a_look_shows_so_much_that_one_answer_holds_it(hub: Hub) -> None:
    large = "x" * 200_000
    fitting = LOOKED_AT_BYTES // 200_002  # with its payload, {}
    for _ in range(2):
        for _ in range(fitting - 5):
            await send(hub, large)
        await receive(hub)
        await receive(hub)
    first = await hub.look(ANYONE, "alpha", since="0000:0", limit=1_000)
    assert (len(first.deliveries), first.total) == (fitting, 2 * (fitting - 5))
    assert first.cursor == first.deliveries[-1].cursor
    rest = await hub.look(ANYONE, "alpha", since=str(first.cursor), limit=1_000)
    assert [d.message.seq for d in rest.deliveries] == list(range(fitting + 1, first.total + 1))


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"limit": 0}, "?limit"),
        ({"limit": 1_001}, "?limit"),
        ({"wait": -1}, "?wait"),
        ({"wait": 50.5}, "?wait"),
        ({"wait": float("nan")}, "?wait"),
        ({"since": "yesterday"}, "?since"),
        ({"agent_id": "ALL"}, "?agent_id"),
    ],
)
async def test_a_faulty_look_is_refused(hub: Hub, options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.look(ANYONE, **{"agent_id": "alpha", **options})
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"limit": 0}, "/limit"),
        ({"limit": 201}, "/limit"),
        ({"wait": 50.5}, "/wait"),
        ({"lease": 0.5}, "/lease"),
        ({"lease": 3_601}, "/lease"),
        ({"lease": float("nan")}, "/lease"),
        ({"agent_id": "hub"}, "/agent_id"),
    ],
)
async def test_a_faulty_receive_is_refused(hub: Hub, options: dict[str, Any], pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.receive(ANYONE, **{"agent_id": "alpha", **options})
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


async def test_nobody_reads_for_another(hub: Hub) -> None:
    stranger = Principal(via="rest", agents=frozenset({"beta"}), scopes=ORDINARY)
    sent = await send(hub)
    for call in (
        hub.look(stranger, "alpha"),
        hub.receive(stranger, "alpha"),
        hub.settle(stranger, "alpha", ack=[sent.receipt.message_id]),
        hub.standings(stranger, "alpha", sent.receipt.message_id),
        hub.position(stranger, "alpha"),
    ):
        with pytest.raises(Forbidden):
            await call
    assert len(await hub.standings(stranger, "beta", sent.receipt.message_id)) == 1


async def test_reading_an_unknown_id_is_empty_and_makes_nothing(hub: Hub) -> None:
    leased = await receive(hub, "nobody")
    assert (leased.deliveries, leased.cursor) == ([], None)
    page = await hub.look(ANYONE, "nobody")
    assert (page.deliveries, page.total, page.cursor) == ([], 0, None)
    assert await hub.position(ANYONE, "nobody") is None
    assert (await hub.totals()).inboxes == 0
    assert await hub.agents(ANYONE) == []


# --- receive ------------------------------------------------------------------------------


async def test_what_was_written_is_acked(open_hub: OpenHub, metrics: Counted) -> None:
    hub = await open_hub()
    sent = await send(hub)
    leased = await receive(hub)
    assert texts(leased.deliveries) == ["hello"]
    assert leased.cursor == sent.receipt.cursor
    [standing] = await hub.standings(ANYONE, "beta", sent.receipt.message_id)
    assert standing.state is State.ACKED
    assert metrics.counts["delivered rest"] == metrics.counts["acked auto"] == 1


async def test_what_was_not_written_is_ready_again_at_once_unblamed(
    open_hub: OpenHub, metrics: Counted
) -> None:
    hub = await open_hub()
    await send(hub)
    for attempt in range(1, 20):
        async with await hub.receive(ANYONE, "alpha") as taking:
            [delivery] = (await taking.leased()).deliveries
            assert delivery.attempt == attempt
            assert (await receive(hub)).deliveries == []
    assert metrics.counts["acked auto"] == metrics.counts["delivered rest"] == 0
    assert len((await receive(hub)).deliveries) == 1
    assert metrics.counts["redelivered rest"] == 1


async def test_with_a_lease_what_was_written_stays_leased(hub: Hub, clock: ManualClock) -> None:
    await send(hub)
    leased = await receive(hub, lease=30)
    assert len(leased.deliveries) == 1
    assert (await receive(hub)).deliveries == []
    await clock.advance(30)
    [delivery] = (await receive(hub)).deliveries
    assert delivery.attempt == 2


async def test_with_a_lease_what_was_not_written_is_ready_again(hub: Hub) -> None:
    await send(hub)
    async with await hub.receive(ANYONE, "alpha", lease=30) as taking:
        await taking.leased()
    assert len((await receive(hub)).deliveries) == 1


async def test_at_most_so_many_messages_and_bytes(hub: Hub) -> None:
    for number in range(5):
        await send(hub, f"{number}")
    assert texts((await receive(hub, limit=2)).deliveries) == ["0", "1"]
    assert texts((await receive(hub, max_bytes=6)).deliveries) == ["2", "3"]
    leased = await receive(hub)
    assert texts(leased.deliveries) == ["4"]
    assert (await receive(hub)).cursor == leased.cursor == await hub.position(ANYONE, "alpha")


async def waiting(hub: Hub, **options: Any) -> asyncio.Task[Any]:
    return await soon(receive(hub, wait=20, **options))


async def test_who_waits_gets_what_comes(hub: Hub, clock: ManualClock) -> None:
    call = await waiting(hub)
    await clock.advance(10)
    assert not call.done()
    await send(hub)
    await settle()
    assert texts(call.result().deliveries) == ["hello"]
    assert not hub._admission._alarms


async def test_who_waits_in_vain_is_answered_when_the_time_is_over(
    hub: Hub, clock: ManualClock
) -> None:
    call = await waiting(hub)
    await clock.advance(19.75)
    assert not call.done()
    await clock.advance(0.25)
    assert call.result().deliveries == []


async def test_no_wait_no_waiting(hub: Hub) -> None:
    call = await soon(receive(hub))
    assert call.result().deliveries == []


async def test_of_two_who_wait_one_gets_the_message_and_the_other_waits_on(hub: Hub) -> None:
    calls = [await waiting(hub), await waiting(hub)]
    await send(hub)
    await settle()
    assert [call.done() for call in calls] == [True, False]
    await send(hub, "more")
    await settle()
    assert texts(calls[1].result().deliveries) == ["more"]


async def test_who_looks_can_wait_too(hub: Hub, clock: ManualClock) -> None:
    first = await soon(hub.look(ANYONE, "alpha", wait=20))
    await send(hub)
    await settle()
    assert texts(first.result().deliveries) == ["hello"]
    await receive(hub)
    second = await soon(hub.look(ANYONE, "alpha", wait=20))
    await clock.advance(20)
    assert second.result().deliveries == []
    assert second.result().cursor is not None


async def test_a_lost_hint_is_not_needed_for_what_was_there_before(hub: Hub) -> None:
    await send(hub)
    call = await waiting(hub)
    assert texts(call.result().deliveries) == ["hello"]


async def test_who_hangs_up_while_waiting_leaves_nothing_behind(
    hub: Hub, clock: ManualClock
) -> None:
    call = await waiting(hub)
    await cancel(call)
    assert not hub._admission._alarms
    await send(hub)
    await settle()
    [delivery] = (await receive(hub)).deliveries
    assert delivery.attempt == 1


async def test_who_hangs_up_after_the_store_had_leased_loses_nothing(hub: Hub) -> None:
    await send(hub)

    async def read() -> None:
        async with await hub.receive(ANYONE, "alpha") as taking:
            await taking.leased()
            await asyncio.Event().wait()  # the answer is being written

    await cancel(await soon(read()))
    assert texts((await receive(hub)).deliveries) == ["hello"]


async def test_a_draining_hub_answers_who_waits(hub: Hub) -> None:
    calls = [await waiting(hub), await soon(hub.look(ANYONE, "alpha", wait=20))]
    await hub.drain()
    await settle()
    assert [call.result().deliveries for call in calls] == [[], []]
    late = await waiting(hub)
    assert late.result().deliveries == []


# --- settle -------------------------------------------------------------------------------


async def test_a_reader_settles_by_id_and_lease(
    open_hub: OpenHub, metrics: Counted, clock: ManualClock
) -> None:
    hub = await open_hub()
    for number in range(4):
        await send(hub, f"{number}")
    leased = await receive(hub, lease=30)
    ids = [delivery.message.id for delivery in leased.deliveries]
    counts = await hub.settle(
        ANYONE,
        "alpha",
        ack=[ids[0], "m_unknown"],
        release=[ids[1]],
        extend=ids[2:3],
        lease_id=leased.lease_id,
        lease=60,
    )
    assert (counts.acked, counts.released, counts.extended) == (1, 1, 1)
    assert metrics.counts["acked manual"] == 1
    assert texts((await receive(hub)).deliveries) == ["1"]
    await clock.advance(30)
    assert texts((await receive(hub)).deliveries) == ["3"]
    await clock.advance(30)
    assert texts((await receive(hub)).deliveries) == ["2"]


async def test_what_cannot_be_an_id_is_passed_over_and_no_store_is_asked(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await send(hub, "a")
    leased = await receive(hub, lease=30)
    asked: list[str] = []
    settle_now = backend.ack

    async def ack(
        agent_id: str, message_ids: Sequence[str], *, mode: str = "manual"
    ) -> list[Acked]:
        asked.extend(message_ids)
        return await settle_now(agent_id, message_ids, mode=mode)

    monkeypatch.setattr(backend, "ack", ack)
    made_up = ["?" + sent.receipt.message_id, "#beta", "m_short", ""]
    own = sent.receipt.message_id
    counts = await hub.settle(
        ANYONE,
        "alpha",
        ack=[*made_up, own],
        release=made_up,
        extend=made_up,
        lease_id=leased.lease_id,
    )
    assert (counts.acked, counts.released, counts.extended) == (1, 0, 0)
    assert asked == [own]
    for one in made_up:
        with pytest.raises(NotFound):
            await hub.standings(ANYONE, "alpha", one)


async def test_a_release_by_the_reader_is_a_failure(hub: Hub) -> None:
    sent = await send(hub)
    for _ in range(6):
        leased = await receive(hub, lease=30)
        ids = [delivery.message.id for delivery in leased.deliveries]
        await hub.settle(ANYONE, "alpha", release=ids, lease_id=leased.lease_id)
    [standing] = await hub.standings(ANYONE, "beta", sent.receipt.message_id)
    assert (standing.state, standing.attempts) == (State.DEAD, 6)


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"release": ["m"]}, "/lease_id"),
        ({"extend": ["m"]}, "/lease_id"),
        ({"lease": 0}, "/lease"),
        ({"lease": 3_601}, "/lease"),
        ({"ack": ["m"] * 1_001}, "/ids"),
        ({"release": ["m"] * 1_001, "lease_id": "l"}, "/release"),
        ({"extend": ["m"] * 1_001, "lease_id": "l"}, "/extend"),
    ],
)
async def test_a_faulty_settling_is_refused(
    hub: Hub, options: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await hub.settle(ANYONE, "alpha", **options)
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


async def test_where_a_message_stands_is_not_found_for_others(hub: Hub) -> None:
    await register(hub, "gamma")
    sent = await send(hub)
    with pytest.raises(NotFound):
        await hub.standings(ANYONE, "gamma", sent.receipt.message_id)
    with pytest.raises(NotFound):
        await hub.standings(ANYONE, "beta", "m_unknown")


async def test_delivery_and_ack_are_timed_from_acceptance(
    open_hub: OpenHub, metrics: Counted, clock: ManualClock
) -> None:
    hub = await open_hub()
    await send(hub)
    await clock.advance(7)
    await receive(hub)
    assert metrics.seconds == [7.0, 7.0]


async def test_a_store_that_is_away_says_so(
    hub: Hub, backend: QueueBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise BackendUnavailable("away", retry_after=1)

    monkeypatch.setattr(backend, "ping", away)
    with pytest.raises(BackendUnavailable):
        await hub.ping()
    assert hub.backend_name == backend.name
    assert hub.durability == backend.durability


async def test_a_hub_knows_how_long_it_runs(hub: Hub, clock: ManualClock) -> None:
    await clock.advance(12)
    assert hub.uptime == 12


async def test_what_a_reader_has_in_hand_is_not_unread(hub: Hub) -> None:
    for number in range(100):
        await send(hub, str(number))
    stream = await hub.subscribe(ANYONE, "alpha", max_in_flight=90)
    assert len(await stream.batch()) == 90
    assert (await hub.unread(ANYONE, "alpha")).total == 10

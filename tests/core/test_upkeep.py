"""What the hub does by itself: expiry, notices, counters, whatever a tick runs into."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from agent_hub.core.agent import Status
from agent_hub.core.errors import BackendUnavailable, TooManyInboxes
from agent_hub.core.hub import Hub
from agent_hub.core.mail import State, Undelivered
from agent_hub.core.message import UNDELIVERED
from agent_hub.core.queue_backend import QueueBackend
from tests.backends.factories import after_its_end
from tests.clock import ManualClock, settle
from tests.core.calls import ANYONE, broadcast, receive, register, send, soon, texts
from tests.core.conftest import OpenHub

DAY = 24 * 3_600.0


async def test_the_sender_of_what_expired_finds_one_notice(hub: Hub, clock: ManualClock) -> None:
    first, second = await send(hub, ttl=10.0), await send(hub, ttl=20.0)
    await clock.advance(30)
    [notice] = (await receive(hub, "beta")).deliveries
    assert (notice.message.type, notice.message.sender) == (UNDELIVERED, "hub")
    told = json.loads(notice.message.payload)
    assert told["recipient"] == "alpha"
    assert told["message_ids"] == [first.receipt.message_id, second.receipt.message_id]
    [standing] = await hub.standings(ANYONE, "beta", first.receipt.message_id)
    assert standing.state is State.EXPIRED
    await clock.advance(60)
    assert (await hub.look(ANYONE, "beta")).total == 0


async def test_a_sender_that_waits_is_woken_by_the_notice(hub: Hub, clock: ManualClock) -> None:
    await send(hub, ttl=10.0)
    call = await soon(receive(hub, "beta", wait=50))
    await clock.advance(12)
    assert call.done()
    assert call.result().deliveries[0].message.type == UNDELIVERED


async def test_what_ended_is_counted_once(hub: Hub, clock: ManualClock) -> None:
    await register(hub, "alpha")
    await send(hub, ttl=1.0)
    await broadcast(hub, ttl=1.0)
    await send(hub, "dies")
    for _ in range(6):
        leased = await receive(hub, lease=10, limit=10)
        ids = [d.message.id for d in leased.deliveries if d.message.text == "dies"]
        await hub.settle(ANYONE, "alpha", release=ids, lease_id=leased.lease_id)
    await clock.advance(60)
    sums = await hub.totals()
    assert (sums.expired, sums.dead) == (2, 1)
    assert sums.accepted_by["hub", "notice"] >= 1
    assert sums.accepted == sums.expired + sums.dead + sums.ready


async def test_leases_run_out_without_anybody_asking(hub: Hub, clock: ManualClock) -> None:
    await send(hub)
    await receive(hub, lease=10)
    call = await soon(receive(hub, wait=50))
    await clock.advance(12)
    assert texts(call.result().deliveries) == ["hello"]


async def test_a_failing_tick_is_not_the_last(
    hub: Hub,
    backend: QueueBackend,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await send(hub, ttl=2.0)
    with monkeypatch.context() as broken:

        async def sweep() -> None:
            raise RuntimeError("a bug")

        broken.setattr(backend, "sweep", sweep)
        with caplog.at_level(logging.WARNING):
            await clock.advance(10)
    assert "upkeep failed" in caplog.text
    await clock.advance(2)
    assert (await hub.totals()).expired == 1
    assert (await hub.look(ANYONE, "beta")).total == 1


async def test_what_the_store_could_not_take_is_told_and_counted_later_once(
    hub: Hub,
    backend: QueueBackend,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await send(hub, ttl=2.0)
    with monkeypatch.context() as broken:

        async def notice(ended: Undelivered) -> bool:
            raise BackendUnavailable("away")

        broken.setattr(backend, "notice", notice)
        with caplog.at_level(logging.WARNING):
            await clock.advance(10)
    assert caplog.text.count("upkeep waits for the store") == 1
    await clock.advance(2)
    assert (await hub.look(ANYONE, "beta")).total == 1
    assert (await hub.totals()).expired == 1


async def test_a_notice_that_finds_no_room_holds_up_no_other(
    hub: Hub,
    backend: QueueBackend,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    notice = backend.notice

    async def crowded(ended: Undelivered) -> bool:
        if ended.sender == "nobody":
            raise TooManyInboxes("crowded")
        return await notice(ended)

    monkeypatch.setattr(backend, "notice", crowded)
    await send(hub, sender="nobody", ttl=2.0)
    await send(hub, ttl=2.0)
    with caplog.at_level(logging.WARNING):
        await clock.advance(5)
    assert caplog.text.count("no notice for") == 1
    assert (await hub.look(ANYONE, "beta")).total == 1
    assert await backend.undelivered(10) == []


async def test_a_sender_for_whom_the_store_is_away_holds_up_no_other(
    hub: Hub, backend: QueueBackend, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = backend.notice

    async def away_for_one(ended: Undelivered) -> bool:
        if ended.sender == "gamma":
            raise BackendUnavailable("away")
        return await notice(ended)

    with monkeypatch.context() as broken:
        broken.setattr(backend, "notice", away_for_one)
        await send(hub, sender="gamma", ttl=2.0)
        await send(hub, ttl=2.0)
        await clock.advance(5)
        assert (await hub.look(ANYONE, "beta")).total == 1
        assert [one.sender for one in await backend.undelivered(10)] == ["gamma"]
    await clock.advance(2)
    assert [(await hub.look(ANYONE, name)).total for name in ("beta", "gamma")] == [1, 1]
    assert await backend.undelivered(10) == []


async def test_what_the_store_was_to_be_told_and_fails_by_a_bug_holds_up_nothing_for_long(
    hub: Hub,
    backend: QueueBackend,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures: list[Exception] = [BackendUnavailable("away"), *map(RuntimeError, "12345678")]

    async def vacate(agent_id: str, stream_id: str) -> None:
        raise failures.pop(0)

    stream = await hub.subscribe(ANYONE, "alpha")
    monkeypatch.setattr(backend, "vacate", vacate)
    await stream.close()
    await send(hub, to="gamma", ttl=1.0)
    with caplog.at_level(logging.WARNING):
        await clock.advance(5)
    assert caplog.text.count("upkeep failed") == 1
    assert (await hub.totals()).expired == 1


async def test_one_tick_waits_for_the_other(
    hub: Hub, backend: QueueBackend, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = most = ticks = 0
    gate = asyncio.Event()

    async def slow_sweep() -> None:
        nonlocal running, most, ticks
        running, ticks = running + 1, ticks + 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    monkeypatch.setattr(backend, "sweep", slow_sweep)
    await clock.advance(5)
    assert (most, ticks) == (1, 1)
    gate.set()
    await settle()
    await clock.advance(3)
    assert ticks == 4


async def test_after_its_stop_a_hub_does_nothing_more(
    backend: QueueBackend, clock: ManualClock
) -> None:
    hub = Hub(backend, clock)
    await hub.start()
    await clock.advance(3)
    await hub.stop()
    assert clock.pending == 0


async def test_after_a_day_a_hub_is_as_it_was_at_the_beginning(
    open_hub: OpenHub, backend: QueueBackend, clock: ManualClock
) -> None:
    hub = await open_hub(rate=100)
    agents = [f"agent-{number}" for number in range(10)]
    for agent_id in agents:
        stream = await hub.subscribe(ANYONE, agent_id)
        await send(hub, sender=agent_id, to=agent_id, idempotency_key="k")
        await send(hub, sender=agent_id, to="agent-0", ttl=5.0)
        await broadcast(hub, sender=agent_id)
        await stream.batch()
        await stream.close()
    await send(hub, to="unregistered")
    await clock.advance(300)
    assert (await hub.totals()).inboxes > 0
    await hub.stop()  # a tick a second for a day would take long: the sweeps below stand for them
    async with after_its_end(backend) as store:
        for _ in range(30):
            clock.pass_by(DAY / 24)
            await store.sweep()
            ended = await store.undelivered(10_000)
            await store.noted(ended)
        sums = await store.totals()
        assert await store.agents() == []
    assert (sums.inboxes, sums.ready, sums.leased, sums.kept) == (0, 0, 0, 0)
    assert sums.accepted == sums.acked + sums.expired + sums.dead
    assert clock.pending == 0


async def test_who_is_connected_stays_registered_when_the_machine_slept(
    hub: Hub, clock: ManualClock
) -> None:
    await register(hub, "beta")
    await hub.subscribe(ANYONE, "alpha")
    clock.step_wall(2 * DAY)
    await clock.advance(10)
    assert [(a.agent_id, s) for a, s in await hub.agents(ANYONE)] == [("alpha", Status.ACTIVE)]

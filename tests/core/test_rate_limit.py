"""The rate limit: a burst, a refill, a bucket for each agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agent_hub.core.clock import Clock
from agent_hub.core.errors import Invalid, RateLimited
from agent_hub.core.rate_limit import Buckets, Quota, TokenBuckets
from tests.clock import ManualClock
from tests.core.calls import ANYONE, Counted, broadcast, draft, receive, register, send
from tests.core.conftest import OpenHub


class Elsewhere:
    """Buckets that take their time, as those do that several hubs share."""

    def __init__(self, rate: float, burst: int, clock: Clock) -> None:
        self._buckets = TokenBuckets(rate, burst, clock)
        self.quota = self._buckets.quota
        self.sweep = self._buckets.sweep

    async def take(self, key: str, cost: float = 1.0) -> None:
        await asyncio.sleep(0)
        self._buckets.take(key, cost)


@pytest.fixture
def buckets(clock: ManualClock) -> TokenBuckets:
    return TokenBuckets(10, 20, clock)


def test_the_21st_of_a_burst_is_refused(buckets: TokenBuckets) -> None:
    for _ in range(20):
        buckets.take("beta")
    with pytest.raises(RateLimited) as refused:
        buckets.take("beta")
    assert refused.value.retry_after == pytest.approx(0.1)


def test_others_feel_nothing(buckets: TokenBuckets) -> None:
    for _ in range(20):
        buckets.take("beta")
    buckets.take("gamma")


def test_a_refused_call_costs_nothing(buckets: TokenBuckets, clock: ManualClock) -> None:
    for _ in range(20):
        buckets.take("beta")
    for _ in range(50):
        with pytest.raises(RateLimited):
            buckets.take("beta")
    clock.pass_by(0.1)
    buckets.take("beta")


def test_a_bucket_refills_at_its_rate_and_never_runs_over(
    buckets: TokenBuckets, clock: ManualClock
) -> None:
    for _ in range(20):
        buckets.take("beta")
    clock.pass_by(0.55)
    for _ in range(5):
        buckets.take("beta")
    with pytest.raises(RateLimited) as refused:
        buckets.take("beta")
    assert refused.value.retry_after == pytest.approx(0.05)
    clock.pass_by(3_600)
    for _ in range(20):
        buckets.take("beta")
    with pytest.raises(RateLimited):
        buckets.take("beta")


def test_what_costs_more_than_a_bucket_needs_a_full_one_and_leaves_a_debt(
    buckets: TokenBuckets, clock: ManualClock
) -> None:
    buckets.take("beta")
    with pytest.raises(RateLimited) as refused:
        buckets.take("beta", 41)
    assert refused.value.retry_after == pytest.approx(0.1)
    clock.pass_by(0.1)
    buckets.take("beta", 41)
    assert buckets.quota("beta") == Quota(10, 20, 0, 5)
    clock.pass_by(2)
    with pytest.raises(RateLimited):
        buckets.take("beta")
    clock.pass_by(0.2)
    buckets.take("beta")


def test_a_quota_says_what_is_left_and_when_all_is_back(
    buckets: TokenBuckets, clock: ManualClock
) -> None:
    assert buckets.quota("beta") == Quota(10, 20, 20, 0)
    for _ in range(15):
        buckets.take("beta")
    assert buckets.quota("beta") == Quota(10, 20, 5, 2)
    clock.pass_by(0.55)
    assert buckets.quota("beta") == Quota(10, 20, 10, 1)


def test_full_buckets_are_forgotten(buckets: TokenBuckets, clock: ManualClock) -> None:
    buckets.take("beta")
    buckets.take("gamma", 20)
    buckets.sweep()
    assert len(buckets) == 2
    clock.pass_by(0.1)
    buckets.sweep()
    assert len(buckets) == 1
    clock.pass_by(1.9)
    buckets.sweep()
    assert len(buckets) == 0


@pytest.mark.parametrize("rate", [0, -1])
def test_a_rate_of_0_turns_the_limit_off(clock: ManualClock, rate: float) -> None:
    buckets = TokenBuckets(rate, 1, clock)
    for _ in range(100):
        buckets.take("beta", 10)
    assert buckets.quota("beta") is None
    assert len(buckets) == 0


# --- through the hub ----------------------------------------------------------------------


Kind = Callable[[float, int, Clock], Buckets]
both = pytest.mark.parametrize("kind", [TokenBuckets, Elsewhere])


@both
async def test_every_counted_call_takes_from_the_agents_one_bucket(
    open_hub: OpenHub, metrics: Counted, kind: Kind
) -> None:
    hub = await open_hub(rate=10, burst=4, buckets=kind)
    await register(hub, "beta")
    sent = await send(hub, to="beta")
    await receive(hub, "beta")
    await hub.look(ANYONE, "beta")
    with pytest.raises(RateLimited):
        await hub.standings(ANYONE, "beta", sent.receipt.message_id)
    with pytest.raises(RateLimited):
        await hub.ask(ANYONE, draft(), 10)
    with pytest.raises(RateLimited):
        await send(hub)
    for call in (register(hub, "beta"), receive(hub, "beta"), hub.look(ANYONE, "beta")):
        with pytest.raises(RateLimited):
            await call
    assert metrics.counts["rate limited"] == 6
    assert metrics.counts["rejected rate_limited"] == 2
    await send(hub, sender="gamma")


async def test_heartbeats_and_acks_are_never_counted(open_hub: OpenHub) -> None:
    hub = await open_hub(rate=10, burst=1)
    await register(hub, "beta")
    for _ in range(50):
        await hub.heartbeat(ANYONE, "beta", "busy")
        await hub.settle(ANYONE, "beta", ack=["m"], release=["m"], extend=["m"], lease_id="l")
    assert hub.quota("beta") == Quota(10, 1, 0, 1)


@both
async def test_who_names_no_agent_is_counted_by_its_address(open_hub: OpenHub, kind: Kind) -> None:
    hub = await open_hub(rate=10, burst=2, buckets=kind)
    await hub.agents(ANYONE)
    await hub.agents(ANYONE, status="active")
    for call in (hub.agent(ANYONE, "beta"), hub.agents(ANYONE)):
        with pytest.raises(RateLimited):
            await call
    assert hub.quota("127.0.0.1") == Quota(10, 2, 0, 1)


@both
async def test_a_broadcast_costs_1_and_a_fiftieth_of_each_recipient(
    open_hub: OpenHub, kind: Kind
) -> None:
    hub = await open_hub(rate=10, burst=20, buckets=kind)
    await register(hub, *(f"agent-{number}" for number in range(100)))
    await broadcast(hub, sender="beta")
    assert hub.quota("beta") == Quota(10, 20, 17, 1)


async def test_a_faulty_call_costs_nothing(open_hub: OpenHub) -> None:
    hub = await open_hub(rate=10, burst=20)
    with pytest.raises(Invalid):
        await send(hub, type="Not a type")
    assert hub.quota("beta") == Quota(10, 20, 20, 0)


async def test_idle_buckets_are_forgotten_by_the_upkeep(
    open_hub: OpenHub, clock: ManualClock
) -> None:
    hub = await open_hub(rate=10, burst=20)
    await send(hub)
    buckets = hub._admission._buckets
    assert isinstance(buckets, TokenBuckets)
    assert len(buckets) == 1
    await clock.advance(60)
    assert len(buckets) == 0

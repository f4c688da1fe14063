"""The rate limit that hubs share: one bucket in Redis for each agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from agent_hub.core.errors import RateLimited
from agent_hub.core.limits import Limits
from agent_hub.core.rate_limit import Buckets, Quota
from agent_hub.queue_backends.redis.backend import RedisBackend
from tests.backends.redis_stores import TemporaryCluster, TemporaryRedis, server
from tests.clock import ManualClock

RATE, BURST = 10.0, 5
MOMENT = 0.001
"""More than a float that holds a date cannot tell apart."""
_numbers = count(1)

Two = tuple[Buckets, Buckets]


@pytest.fixture(params=[TemporaryRedis, TemporaryCluster])
async def stores(
    request: pytest.FixtureRequest, clock: ManualClock
) -> AsyncIterator[list[TemporaryRedis]]:
    """Of two nodes on one Redis."""
    prefix = f"buckets{next(_numbers)}"
    both = [request.param(clock, Limits(), prefix=prefix) for _ in range(2)]
    for store in both:
        await store.open()
    yield both
    for store in both:
        await store.close()


@pytest.fixture
def two(stores: list[TemporaryRedis], clock: ManualClock) -> Two:
    a, b = (store.buckets(RATE, BURST, clock) for store in stores)
    return a, b


async def take(buckets: Buckets, key: str = "beta", cost: float = 1.0) -> None:
    counted = buckets.take(key, cost)
    assert counted is not None
    await counted


async def refused(buckets: Buckets, key: str = "beta", cost: float = 1.0) -> float:
    """Seconds until it is worth another try."""
    with pytest.raises(RateLimited) as refusal:
        await take(buckets, key, cost)
    assert refusal.value.retry_after is not None
    return refusal.value.retry_after


async def test_what_an_agent_takes_at_one_node_it_cannot_take_at_the_other(two: Two) -> None:
    a, b = two
    for buckets in (a, a, a, b, b):
        await take(buckets)
    assert await refused(a) == pytest.approx(0.1, abs=2 * MOMENT)
    assert await refused(b) == pytest.approx(0.1, abs=2 * MOMENT)
    await take(b, "gamma")


async def test_a_refused_call_costs_nothing_and_the_bucket_refills_for_both(
    two: Two, clock: ManualClock
) -> None:
    a, b = two
    await take(a, cost=5)
    for _ in range(20):
        await refused(b)
    clock.pass_by(0.2 + MOMENT)
    await take(b)
    await take(a)
    assert await refused(b) == pytest.approx(0.1, abs=2 * MOMENT)
    clock.pass_by(3_600)
    await take(a, cost=5)
    await refused(b)


async def test_what_costs_more_than_a_bucket_needs_a_full_one_and_leaves_a_debt(
    two: Two, clock: ManualClock
) -> None:
    a, b = two
    await take(a)
    assert await refused(b, cost=9) == pytest.approx(0.1, abs=2 * MOMENT)
    clock.pass_by(0.1 + MOMENT)
    await take(b, cost=9)
    clock.pass_by(0.4)
    assert await refused(a) == pytest.approx(0.1, abs=2 * MOMENT)
    clock.pass_by(0.1 + MOMENT)
    await take(a)


async def test_of_many_calls_at_once_at_both_nodes_as_many_pass_as_there_is_room(
    two: Two,
) -> None:
    for buckets in two:
        await take(buckets, "gamma")  # connected; who waits too long counts for itself
    calls = (take(two[place % 2]) for place in range(100))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes.count(None) == BURST
    assert {type(outcome) for outcome in outcomes} == {type(None), RateLimited}


async def test_a_node_tells_what_it_last_heard_of_a_bucket(two: Two, clock: ManualClock) -> None:
    a, b = two
    assert a.quota("beta") == Quota(RATE, BURST, BURST, 0)
    await take(a, cost=2)
    await take(b, cost=1)
    assert b.quota("beta") == Quota(RATE, BURST, 2, 1)
    await refused(a, cost=3)
    assert a.quota("beta") == Quota(RATE, BURST, 2, 1)
    clock.pass_by(0.3 + MOMENT)
    a.sweep()
    assert a.quota("beta") == Quota(RATE, BURST, BURST, 0)


@pytest.mark.parametrize("cluster", [False, True])
async def test_a_bucket_that_is_full_again_is_no_more_in_redis(
    cluster: bool, clock: ManualClock
) -> None:
    store = RedisBackend(server(cluster=cluster).url, prefix=f"buckets{next(_numbers)}")
    await store.open()
    slow = store.buckets(0.01, BURST, clock)
    await take(slow, cost=3)
    assert 200_000 < await left(store) <= 300_000
    await take(slow, cost=2)
    assert 400_000 < await left(store) <= 500_000
    await store.close()


async def left(store: RedisBackend) -> int:
    """Milliseconds until the key goes."""
    key = store._store.keys("beta", "rate")
    (milliseconds,) = await store._store.ask((("PTTL", key),))
    return int(milliseconds)


async def test_without_a_rate_redis_is_not_asked(
    stores: list[TemporaryRedis], clock: ManualClock
) -> None:
    buckets = stores[0].buckets(0, BURST, clock)
    assert buckets.take("beta", 1_000) is None
    assert buckets.quota("beta") is None


async def test_while_redis_is_away_each_node_counts_for_itself_from_what_it_knew(
    clock: ManualClock,
) -> None:
    store = TemporaryRedis(clock, Limits())
    await store.open()
    buckets = store.buckets(RATE, BURST, clock)
    await take(buckets, cost=2)
    await store.close()  # whatever is asked from now on finds nobody
    for _ in range(3):
        await take(buckets)
    assert await refused(buckets) == pytest.approx(0.1, abs=2 * MOMENT)
    clock.pass_by(0.1 + MOMENT)
    await take(buckets)

"""The rate limit as a REST client meets it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clock import ManualClock
from tests.server import RunningHub, running_hub
from tests.web.caller import ACK, AGENTS, INBOXES, MESSAGES, RECEIVE, Caller

BURST = 20
POLICY = '"agent";q=10;w=1'


@pytest.fixture
async def served(clock: ManualClock) -> AsyncIterator[RunningHub]:
    """With the limit of the defaults."""
    async with running_hub(clock=clock, rate_limit=10, rate_burst=BURST) as served:
        yield served


async def exhaust(rest: Caller, agent_id: str, to: str = "alpha") -> None:
    for _ in range(BURST):
        await rest.send(agent_id, to)


async def test_the_21st_request_of_a_burst_is_refused_and_says_when_to_come_back(
    rest: Caller,
) -> None:
    for left in reversed(range(BURST)):
        await rest.send("beta", "alpha")
        assert rest.headers["RateLimit-Policy"] == POLICY
        refilled = 1 if BURST - left <= 10 else 2
        assert rest.headers["RateLimit"] == f'"agent";r={left};t={refilled}'
    told = await rest.post(MESSAGES, {"from": "beta", "to": "alpha", "text": "x"}, status=429)
    assert told["code"] == "rate_limited"
    assert told["retryable"] is True
    assert told["retry_after"] == 0.1
    assert rest.headers["Retry-After"] == "1"
    assert rest.headers["RateLimit-Policy"] == POLICY
    assert rest.headers["RateLimit"] == '"agent";r=0;t=2'
    assert (await rest.look("alpha"))["total"] == BURST


async def test_time_gives_the_requests_back(rest: Caller, clock: ManualClock) -> None:
    await exhaust(rest, "beta")
    clock.pass_by(0.1)
    await rest.send("beta", "alpha")
    await rest.post(MESSAGES, {"from": "beta", "to": "alpha", "text": "x"}, status=429)
    clock.pass_by(2)
    await exhaust(rest, "beta")


async def test_a_refused_call_costs_nothing(rest: Caller, clock: ManualClock) -> None:
    await exhaust(rest, "beta")
    for _ in range(50):
        await rest.post(MESSAGES, {"from": "beta", "to": "alpha", "text": "x"}, status=429)
    clock.pass_by(0.1)
    await rest.send("beta", "alpha")


async def test_other_agents_feel_nothing(rest: Caller) -> None:
    await exhaust(rest, "beta")
    await rest.send("gamma", "alpha")
    assert rest.headers["RateLimit"] == f'"agent";r={BURST - 1};t=1'
    await rest.receive("alpha")
    assert rest.headers["RateLimit"] == f'"agent";r={BURST - 1};t=1'


async def test_one_bucket_for_all_counted_calls_of_an_agent(rest: Caller) -> None:
    await rest.register("beta")
    sent = await rest.send("beta", "alpha")
    await rest.receive("beta")
    await rest.look("beta")
    await rest.standing("beta", sent["message_id"])
    assert rest.headers["RateLimit"] == f'"agent";r={BURST - 5};t=1'


async def test_what_keeps_an_agent_alive_and_its_mail_settled_is_never_counted(
    rest: Caller,
) -> None:
    await rest.register("beta")
    for _ in range(BURST - 1):
        await rest.send("beta", "alpha")
    for _ in range(3 * BURST):
        await rest.post(f"{AGENTS}/beta/heartbeat", {})
        assert "RateLimit" not in rest.headers
        await rest.post(ACK, {"agent_id": "beta", "ids": ["m_x"]})
        await rest.post(ACK, {"agent_id": "beta", "release": ["m_x"], "lease_id": "x"})
        await rest.post(ACK, {"agent_id": "beta", "extend": ["m_x"], "lease_id": "x"})
        await rest.get("/health")
    await rest.call("DELETE", f"{AGENTS}/beta", status=204)
    await rest.post(RECEIVE, {"agent_id": "beta"}, status=429)


async def test_a_call_that_names_no_agent_counts_for_its_address(rest: Caller) -> None:
    for _ in range(BURST):
        await rest.get(AGENTS)
    told = await rest.get(AGENTS, status=429)
    assert told["code"] == "rate_limited"
    assert "127.0.0.1" in told["detail"]
    await rest.get(INBOXES, status=429)
    await rest.send("beta", "alpha")


async def test_a_broadcast_costs_more_the_more_it_reaches(rest: Caller) -> None:
    for n in range(100):
        await rest.register(f"agent-{n}")
    await rest.send("beta", "ALL")
    assert rest.headers["RateLimit"] == f'"agent";r={BURST - 3};t=1'


@pytest.mark.parametrize(
    ("rate", "said"), [(1_000_000, "1000000"), (0.05, "0.05"), (2.5, "2.5"), (100, "100")]
)
async def test_the_rate_is_said_without_an_exponent(rate: float, said: str) -> None:
    async with running_hub(rate_limit=rate) as served:
        rest = Caller(served.session)
        await rest.send("beta", "alpha")
        assert rest.headers["RateLimit-Policy"] == f'"agent";q={said};w=1'


async def test_without_a_limit_no_header_speaks_of_one(clock: ManualClock) -> None:
    async with running_hub(clock=clock, rate_limit=0) as served:
        rest = Caller(served.session)
        for _ in range(2 * BURST):
            await rest.send("beta", "alpha")
        assert not [name for name in rest.headers if name.startswith("RateLimit")]

"""Who is here: joined, left and status on every socket that wants to know."""

from __future__ import annotations

import pytest

from agent_hub.web import roster
from agent_hub.wire.frames import MAX_NEWS
from tests.clock import ManualClock
from tests.server import RunningHub, running_hub
from tests.web.peer import Frame, Peer, connected, until


async def register(hub: RunningHub, agent_id: str) -> None:
    async with hub.session.post("/api/v1/agents/register", json={"agent_id": agent_id}) as response:
        assert response.status in (200, 201)


async def heartbeat(hub: RunningHub, agent_id: str, status: str) -> None:
    path = f"/api/v1/agents/{agent_id}/heartbeat"
    async with hub.session.post(path, json={"status": status}) as response:
        assert response.status == 200


async def told(peer: Peer, clock: ManualClock, seconds: float = 0.25) -> list[Frame]:
    """What a socket hears in the next quarter of a second."""
    await clock.advance(seconds)
    return await peer.sync()


def names(frame: Frame) -> list[str]:
    return [agent["agent_id"] for agent in frame["agents"]]


async def test_a_newcomer_is_announced_by_id_name_and_status(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events=None) as alpha:
        assert await told(alpha, clock) == []
        await register(hub, "beta")
        [joined] = await told(alpha, clock)
    assert joined == {
        "type": "agent.joined",
        "from": "hub",
        "agents": [{"agent_id": "beta", "session_id": None, "name": None, "status": "active"}],
        "total": 1,
    }


async def test_a_storm_of_newcomers_is_counted_in_full_and_named_in_part(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events=None) as alpha:
        await told(alpha, clock)  # its own coming
        for number in range(MAX_NEWS + 1):
            await register(hub, f"agent-{number}")
        [joined] = await told(alpha, clock)
    assert (len(joined["agents"]), joined["total"]) == (MAX_NEWS, MAX_NEWS + 1)


async def test_changes_of_a_quarter_second_come_in_one_frame_of_each_kind(
    clock: ManualClock,
) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events="all") as alpha:
        await register(hub, "beta")
        await told(alpha, clock)
        for number in range(50):
            await register(hub, f"agent-{number}")
        await heartbeat(hub, "beta", "busy")
        assert await told(alpha, clock, 0.24) == []
        frames = await told(alpha, clock, 0.01)
    assert [frame["type"] for frame in frames] == ["agent.joined", "agent.status"]
    assert names(frames[0]) == [f"agent-{number}" for number in range(50)]
    assert [agent["status"] for agent in frames[1]["agents"]] == ["busy"]


async def test_a_status_that_goes_and_comes_back_at_once_is_no_news(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events="all") as alpha:
        await register(hub, "beta")
        await told(alpha, clock)
        await heartbeat(hub, "beta", "busy")
        await heartbeat(hub, "beta", "active")
        assert await told(alpha, clock) == []


async def test_a_takeover_is_silent(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock) as hub,
        connected(hub, "alpha", events="all") as alpha,
        connected(hub, "beta"),
    ):
        assert len(await told(alpha, clock)) == 1
        async with connected(hub, "beta"):
            assert await told(alpha, clock, 10) == []


async def test_a_reconnection_within_the_grace_is_silent(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events="all") as alpha:
        async with connected(hub, "beta"):
            assert len(await told(alpha, clock)) == 1
        assert await told(alpha, clock, 60) == []
        async with connected(hub, "beta"):
            assert await told(alpha, clock, 60) == []


async def test_left_comes_90_s_after_the_socket_closed(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events="all") as alpha:
        async with connected(hub, "beta") as beta:
            assert len(await told(alpha, clock)) == 1
            await clock.advance(28)
            await beta.socket.close()
            await until(hub, lambda: hub.hub.open_subscriptions == 1)
        for _ in range(8):
            assert await told(alpha, clock, 11) == []
        [left] = await told(alpha, clock, 12)
    assert (left["type"], names(left)) == ("agent.left", ["beta"])
    assert left["agents"][0]["status"] == "offline"


async def test_an_open_socket_keeps_its_agent_here_without_a_word(clock: ManualClock) -> None:
    async with (
        running_hub(clock=clock) as hub,
        connected(hub, "alpha", events="all") as alpha,
        connected(hub, "beta") as beta,
    ):
        assert len(await told(alpha, clock)) == 1
        for _ in range(20):
            assert await told(alpha, clock, 30) == []
            await beta.sync()


async def test_the_end_of_a_registration_is_announced_at_once(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events="all") as alpha:
        await register(hub, "beta")
        await told(alpha, clock)
        async with hub.session.delete("/api/v1/agents/beta"):
            pass
        [left] = await told(alpha, clock)
    assert (left["type"], names(left)) == ("agent.left", ["beta"])


async def test_nobody_is_told_of_itself_alone(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events="all") as alpha:
        assert await told(alpha, clock) == []
        await alpha.say({"type": "heartbeat", "status": "busy"})
        await alpha.sync()
        assert await told(alpha, clock) == []


@pytest.mark.parametrize(("asked", "hears"), [(None, True), ("all", True), ("none", False)])
async def test_events_are_on_by_default_and_off_on_request(
    clock: ManualClock, asked: str | None, hears: bool
) -> None:
    async with running_hub(clock=clock) as hub, connected(hub, "alpha", events=asked) as alpha:
        await register(hub, "beta")
        assert bool(await told(alpha, clock)) is hears


@pytest.mark.parametrize(("asked", "hears"), [(None, False), ("all", True), ("none", False)])
async def test_with_very_many_sockets_only_those_that_asked_are_told(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, asked: str | None, hears: bool
) -> None:
    assert roster.EVENTS_BY_DEFAULT_UP_TO == 500
    monkeypatch.setattr(roster, "EVENTS_BY_DEFAULT_UP_TO", 2)
    async with (
        running_hub(clock=clock) as hub,
        connected(hub, "alpha", events=asked) as alpha,
        connected(hub, "beta"),
    ):
        await told(alpha, clock)
        async with connected(hub, "gamma"):
            assert bool(await told(alpha, clock)) is hears


async def test_events_use_up_no_credit_and_are_never_queued(clock: ManualClock) -> None:
    async with running_hub(clock=clock) as hub:
        async with connected(hub, "alpha", events="all", max_in_flight=1) as alpha:
            for number in range(5):
                await register(hub, f"agent-{number}")
                assert len(await told(alpha, clock)) == 1
            assert alpha.pings == []
        async with connected(hub, "alpha", events="all") as alpha:
            assert await told(alpha, clock) == []

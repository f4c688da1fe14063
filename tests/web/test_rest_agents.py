"""Agents over REST: each call with exactly the shapes that it promises."""

from __future__ import annotations

from agent_hub.core.agent import GRACE_SECONDS
from agent_hub.core.limits import Limits
from agent_hub.queue_backends.memory import MemoryBackend
from tests.clock import ManualClock
from tests.server import running_hub
from tests.web.caller import AGENTS, MESSAGES, REGISTER, Caller

AGENT_KEYS = {
    "agent_id",
    "session_id",
    "name",
    "status",
    "capabilities",
    "last_heartbeat",
    "registered_at",
    "metadata",
}


async def test_a_registration_answers_with_where_to_listen_and_who_else_is_here(
    rest: Caller,
) -> None:
    beta = {
        "agent_id": "beta-01TYEi4M",
        "session_id": "01TYEi4Mjf2Tft2SWjjVtdQ3",
        "name": "Beta",
        "capabilities": ["detection", "analysis"],
        "metadata": {"os": {"name": "plan9"}},
    }
    assert await rest.post(REGISTER, beta, status=201) == {
        "success": True,
        "agent_id": "beta-01TYEi4M",
        "websocket_url": "/ws/beta-01TYEi4M",
        "peers": [],
        "heartbeat_seconds": 30,
    }
    told = await rest.register("alpha")
    assert told["peers"] == [
        {
            **beta,
            "status": "active",
            "last_heartbeat": "2027-01-15T08:00:00.000Z",
            "registered_at": "2027-01-15T08:00:00.000Z",
        }
    ]


async def test_one_agent_too_many_is_refused_and_told_when_to_come_back(clock: ManualClock) -> None:
    backend = MemoryBackend(clock, Limits(agents=1))
    async with running_hub(clock=clock, backend=backend) as served:
        rest = Caller(served.session)
        await rest.register("alpha")
        refused = await rest.post(REGISTER, {"agent_id": "beta"}, status=429)
        assert (refused["code"], refused["retryable"]) == ("too_many_inboxes", True)
        assert int(rest.headers["Retry-After"]) > 0
        await rest.register("alpha", status=200)


async def test_a_known_agent_registers_again_and_is_replaced(
    rest: Caller, clock: ManualClock
) -> None:
    await rest.register("beta", name="Old", capabilities=["a"], metadata={"a": 1})
    clock.pass_by(60)
    told = await rest.register("beta", status=200, session_id="new")
    assert told["peers"] == []
    assert await rest.get(f"{AGENTS}/beta") == {
        "agent_id": "beta",
        "session_id": "new",
        "name": None,
        "status": "active",
        "capabilities": [],
        "last_heartbeat": "2027-01-15T08:01:00.000Z",
        "registered_at": "2027-01-15T08:00:00.000Z",
        "metadata": {},
    }


async def test_the_list_shows_every_agent_and_filters_by_status_and_capability(
    rest: Caller, clock: ManualClock
) -> None:
    assert await rest.get(AGENTS) == {"agents": [], "total": 0}
    await rest.register("gone", capabilities=["see"])
    clock.pass_by(GRACE_SECONDS + 1)
    await rest.register("alpha", capabilities=["see", "hear"])
    await rest.register("beta")
    await rest.post(f"{AGENTS}/beta/heartbeat", {"status": "busy"})

    async def listed(query: str = "") -> list[str]:
        told = await rest.get(AGENTS + query)
        assert set(told) == {"agents", "total"}
        assert told["total"] == len(told["agents"])
        assert all(set(agent) == AGENT_KEYS for agent in told["agents"])
        return [agent["agent_id"] for agent in told["agents"]]

    assert await listed() == ["gone", "alpha", "beta"]
    assert await listed("?status=offline") == ["gone"]
    assert await listed("?status=busy") == ["beta"]
    assert await listed("?capability=see") == ["gone", "alpha"]
    assert await listed("?capability=see&status=active") == ["alpha"]
    assert await listed("?capability=fly") == []


async def test_a_heartbeat_answers_with_the_agent_and_its_new_status(
    rest: Caller, clock: ManualClock
) -> None:
    await rest.register("beta")
    clock.pass_by(30)
    told = await rest.post(f"{AGENTS}/beta/heartbeat", {"status": "idle"})
    assert set(told) == AGENT_KEYS
    assert told["status"] == "idle"
    assert told["last_heartbeat"] == "2027-01-15T08:00:30.000Z"
    kept = await rest.post(f"{AGENTS}/beta/heartbeat", {})
    assert kept["status"] == "idle"
    bare = await rest.call("POST", f"{AGENTS}/beta/heartbeat")
    assert bare["status"] == "idle"


async def test_one_missed_heartbeat_never_kills_and_a_later_one_revives(
    rest: Caller, clock: ManualClock
) -> None:
    await rest.register("beta")
    clock.pass_by(GRACE_SECONDS)
    assert (await rest.get(f"{AGENTS}/beta"))["status"] == "active"
    clock.pass_by(1)
    assert (await rest.get(f"{AGENTS}/beta"))["status"] == "offline"
    assert (await rest.post(f"{AGENTS}/beta/heartbeat", {}))["status"] == "active"


async def test_an_unknown_agent_is_not_found_by_any_call(rest: Caller) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/heartbeat")):
        told = await rest.call(method, f"{AGENTS}/nobody{path}", status=404)
        assert told["code"] == "not_found"
    assert (await rest.get(AGENTS))["total"] == 0


async def test_a_deleted_agent_is_gone_and_its_mail_stays(rest: Caller) -> None:
    await rest.register("beta")
    sent = await rest.send("alpha", "beta")
    assert await rest.call("DELETE", f"{AGENTS}/beta", status=204) is None
    assert "Content-Length" not in rest.headers
    assert "Content-Type" not in rest.headers
    await rest.call("DELETE", f"{AGENTS}/beta", status=404)
    assert (await rest.get(AGENTS))["total"] == 0
    [waiting] = (await rest.look("beta"))["messages"]
    assert waiting["id"] == sent["message_id"]


async def test_deleting_an_agent_closes_its_socket_for_good(rest: Caller) -> None:
    async with rest.session.ws_connect("/ws/beta") as socket:
        await socket.receive_json()
        await rest.call("DELETE", f"{AGENTS}/beta", status=204)
        while not socket.closed:
            await socket.receive()
        assert socket.close_code == 4503


async def test_a_connection_goes_on_after_an_answer_without_a_body(rest: Caller) -> None:
    await rest.register("beta")
    await rest.call("DELETE", f"{AGENTS}/beta", status=204)
    assert await rest.get(MESSAGES, agent_id="beta")

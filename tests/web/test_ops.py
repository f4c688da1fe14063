"""Health, readiness and metrics, as those who run the hub see them."""

from __future__ import annotations

from typing import Any

import pytest

from agent_hub import __version__
from agent_hub.core.errors import BackendUnavailable
from tests.clock import ManualClock
from tests.server import RunningHub
from tests.web.caller import AGENTS, MESSAGES, REGISTER, Caller
from tests.web.raw import connected
from tests.web.waiting import until

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


async def unavailable(*args: Any, **kwargs: Any) -> None:
    raise BackendUnavailable("the store is away", retry_after=2)


@pytest.mark.parametrize("path", ["/health", "/api/mcp/health"])
async def test_health_says_what_this_hub_is(rest: Caller, clock: ManualClock, path: str) -> None:
    await rest.register("beta")
    clock.pass_by(1.5)
    assert await rest.get(path) == {
        "status": "ok",
        "version": __version__,
        "backend": "memory",
        "durability": "process",
        "agents": 1,
        "uptime_seconds": 1.5,
    }


async def test_a_working_hub_is_live_and_ready(rest: Caller) -> None:
    assert await rest.get("/livez") == {"status": "ok"}
    assert await rest.get("/readyz") == {"status": "ok"}
    assert await rest.call("GET", "/readyz?verbose") == {
        "status": "ok",
        "checks": [{"name": "backend", "status": "ok"}, {"name": "draining", "status": "ok"}],
    }


async def test_without_its_store_the_hub_is_live_and_not_ready(
    rest: Caller, served: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.hub, "ping", unavailable)
    assert await rest.get("/livez") == {"status": "ok"}
    async with served.session.get("/readyz?verbose") as answer:
        assert answer.status == 503
        assert await answer.json() == {
            "status": "unavailable",
            "checks": [
                {"name": "backend", "status": "backend_unavailable"},
                {"name": "draining", "status": "ok"},
            ],
        }


async def test_a_store_that_is_away_is_told_with_when_to_come_back(
    rest: Caller, served: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.hub._backend, "send", unavailable)
    told = await rest.post(MESSAGES, {"from": "a", "to": "b", "text": "x"}, status=503)
    assert told["code"] == "backend_unavailable"
    assert told["retryable"] is True
    assert rest.headers["Retry-After"] == "2"


async def test_a_draining_hub_is_live_not_ready_and_takes_nothing_new(
    rest: Caller, served: RunningHub
) -> None:
    await rest.send("beta", "alpha")
    await served.hub.drain()
    assert await rest.get("/livez") == {"status": "ok"}
    assert (await rest.get("/health"))["status"] == "draining"
    async with served.session.get("/readyz?verbose") as answer:
        assert answer.status == 503
        assert {"name": "draining", "status": "draining"} in (await answer.json())["checks"]
    for path, body in (
        (MESSAGES, {"from": "a", "to": "b", "text": "x"}),
        (MESSAGES, {"from": "a", "to": "b", "text": "x", "wait": 5}),
        (REGISTER, {"agent_id": "a"}),
    ):
        told = await rest.post(path, body, status=503)
        assert told["code"] == "draining"
        assert rest.headers["Retry-After"] == "1"
    assert len((await rest.receive("alpha"))["messages"]) == 1


async def test_draining_ends_every_wait_at_once(served: RunningHub, clock: ManualClock) -> None:
    before = clock.pending
    async with connected(served) as receiving, connected(served) as asking:
        await receiving.request("POST", f"{MESSAGES}/receive", b'{"agent_id": "a", "wait": 50}')
        question = b'{"from": "b", "to": "c", "text": "x", "wait": 300}'
        await asking.request("POST", MESSAGES, question)
        await until(lambda: served.hub.open_waits == 1 and clock.pending >= before + 3)
        await served.hub.drain()
        assert (await receiving.answer()).json()["messages"] == []
        assert (await asking.answer()).json()["status"] == "pending"


# --- metrics ------------------------------------------------------------------------------


async def scrape(served: RunningHub, accept: str = "*/*") -> tuple[str, str]:
    async with served.session.get("/metrics", headers={"Accept": accept}) as answer:
        assert answer.status == 200
        return answer.headers["Content-Type"], await answer.text()


def samples(text: str) -> dict[str, float]:
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_metrics_come_as_prometheus_text_or_openmetrics(served: RunningHub) -> None:
    kind, text = await scrape(served)
    assert kind.startswith("text/plain; version=")
    assert "# EOF" not in text
    kind, text = await scrape(served, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("kind", ["application/openmetrics-text", "text/plain"])
async def test_metrics_in_a_version_that_is_none_come_as_text(
    served: RunningHub, kind: str
) -> None:
    told, _ = await scrape(served, f"{kind};version=newest")
    assert told.startswith("text/plain; version=0.0.4")


async def test_metrics_count_a_message_from_door_to_ack(rest: Caller, served: RunningHub) -> None:
    await rest.register("beta")
    await rest.send("beta", "alpha")
    await rest.send("beta", "gamma")
    await rest.receive("alpha")
    await rest.post(MESSAGES, {"from": "-", "to": "b"}, status=422)
    _, text = await scrape(served)
    told = samples(text)
    for name, value in {
        'messages_accepted_total{kind="direct",via="rest"}': 2,
        'messages_delivered_total{redelivered="false",via="rest"}': 1,
        'messages_acked_total{mode="auto"}': 1,
        'inbox_messages{state="ready"}': 1,
        'inbox_messages{state="leased"}': 0,
        'inbox_messages{state="kept"}': 1,
        'agents{status="active"}': 1,
        "backend_up": 1,
        "websocket_connections": 0,
        "waits_inflight": 0,
        "message_ack_seconds_count": 1,
    }.items():
        assert told[f"agenthub_{name}"] == value, name
    requests = 'http_request_duration_seconds_count{method="POST",route="%s",status="%d"}'
    assert told["agenthub_" + requests % (MESSAGES, 202)] == 2
    assert told["agenthub_" + requests % (f"{AGENTS}/register", 201)] == 1


async def test_every_metric_of_the_hub_has_its_prefix_and_nobody_is_named(
    rest: Caller, served: RunningHub
) -> None:
    secret = "whoever-this-is"
    await rest.register(secret, name=secret, session_id=secret, capabilities=[secret])
    sent = await rest.send(secret, f"{secret}.2", secret, type=secret)
    await rest.receive(f"{secret}.2")
    await rest.get(f"{AGENTS}/{secret}")
    await rest.standing(secret, sent["message_id"])
    await rest.get(f"/{secret}", status=404)
    await rest.call("PUT", f"{AGENTS}/{secret}", status=405)
    async with served.session.ws_connect(f"/ws/{secret}?since=0:0") as socket:
        await socket.receive()
    async with connected(served) as connection:
        await connection.request("PROPFIND", f"/{secret}")
        assert (await connection.answer()).status == 404
    for accept in ("*/*", OPENMETRICS):
        _, text = await scrape(served, accept)
        assert secret not in text
        assert sent["message_id"] not in text
        assert "PROPFIND" not in text
        ours = [name for name in samples(text) if not name.startswith(("process_", "python_"))]
        assert all(name.startswith("agenthub_") for name in ours)


@pytest.mark.parametrize("call", ["ping", "totals"])
async def test_metrics_are_told_without_the_store(
    call: str, served: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.hub, call, unavailable)
    _, text = await scrape(served)
    assert samples(text)["agenthub_backend_up"] == 0

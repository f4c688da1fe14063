"""At the lowest level the log follows each message from door to door."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance.process import HubProcess, hub_process
from tests.web.peer import connected, post

pytestmark = pytest.mark.slow

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MCP = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}


async def call_tool(hub: HubProcess, name: str, request_id: str, **arguments: Any) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    headers = {**MCP, "X-Request-Id": request_id, "traceparent": TRACE}
    async with hub.session.post("/mcp", json=body, headers=headers) as response:
        answer = await response.text()
        assert '"isError":false' in answer.replace(" ", ""), answer


async def records(*, of: HubProcess) -> list[dict[str, Any]]:
    """All that the hub has logged, once it has ended."""
    of.process.terminate()
    assert await of.process.wait() == 0
    return [json.loads(line) for line in of.log.lines]


def trail(log: list[dict[str, Any]], message_id: str) -> list[tuple[str, ...]]:
    """What happened to a message: event, request, agent, door, trace."""
    names = ("event", "request_id", "agent", "via", "traceparent")
    return [
        tuple(record.get(name, "") for name in names)
        for record in log
        if record.get("message_id") == message_id
    ]


async def send(hub: HubProcess, request_id: str, to: str, **more: Any) -> str:
    body = {"from": "beta", "to": to, "text": "hello", **more}
    headers = {"X-Request-Id": request_id, "traceparent": TRACE}
    async with hub.session.post("/api/v1/messages", json=body, headers=headers) as response:
        assert response.status == 202
        return str((await response.json())["message_id"])


async def test_a_message_is_followed_from_a_request_to_a_socket_and_its_receipt() -> None:
    async with hub_process("--log-level", "debug") as hub:
        async with connected(hub, "alpha") as alpha:
            message_id = await send(hub, "r-send", "alpha")
            frame = await alpha.next()
            assert frame["traceparent"] == TRACE
            await alpha.sync()
        log = await records(of=hub)
    [sent, delivered, acked] = trail(log, message_id)
    assert sent == ("accepted", "r-send", "beta", "rest", TRACE)
    assert (delivered[0], *delivered[2:]) == ("delivered", "alpha", "websocket", TRACE)
    assert acked[0] == "acked, auto"
    [socket] = [record for record in log if record.get("route") == "/ws/{agent_id}"]
    assert delivered[1] == acked[1] == socket["request_id"] != "r-send"


async def test_a_message_is_followed_to_a_tool_call_and_its_answer_back() -> None:
    async with hub_process("--log-level", "debug") as hub:
        message_id = await send(hub, "r-send", "ide")
        await call_tool(hub, "get_messages", "r-read", client_id="ide")
        async with connected(hub, "gamma") as gamma:
            await call_tool(
                *(hub, "send_message", "r-tool"),
                sender_id="ide",
                recipient_id="gamma",
                message="hello",
            )
            answer = await gamma.next()
        log = await records(of=hub)
    assert trail(log, message_id) == [
        ("accepted", "r-send", "beta", "rest", TRACE),
        ("delivered", "r-read", "ide", "mcp", TRACE),
        ("acked, auto", "r-read", "", "", ""),
    ]
    assert trail(log, answer["id"])[0] == ("accepted", "r-tool", "ide", "mcp", TRACE)
    assert answer["traceparent"] == TRACE


async def test_each_request_is_a_line_with_its_route_status_and_duration() -> None:
    async with hub_process("--log-level", "debug") as hub:
        await send(hub, "r-1", "alpha")
        async with hub.session.get(
            "/api/v1/agents/nobody", headers={"X-Request-Id": "r-2"}
        ) as response:
            assert response.status == 404
        log = await records(of=hub)
    lines = {line["request_id"]: line for line in log if line["event"] == "answered"}
    assert lines["r-1"]["route"] == "/api/v1/messages"
    assert lines["r-2"]["route"] == "/api/v1/agents/{agent_id}"
    assert (lines["r-1"]["status"], lines["r-2"]["status"]) == (202, 404)
    assert all(0 <= line["duration"] < 60 and line["method"] for line in lines.values())


async def test_at_other_levels_ordinary_messages_leave_no_line() -> None:
    async with hub_process("--log-level", "info") as hub:
        before = len(hub.log.lines)
        await post(hub, "alpha", "one", "two")
        log = await records(of=hub)
    assert [record["event"] for record in log[before:]] == ["shutting down"]

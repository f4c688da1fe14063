"""What a client meets before any tool: methods, revisions, bad bodies, foreign pages."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from tests.clock import ManualClock
from tests.mcp.door import ACCEPT, LEGACY, MODERN, call, ide
from tests.server import RunningHub, running_hub
from tests.web.raw import call as raw_call

JSON = {"Content-Type": "application/json", **ACCEPT}
REVISIONS = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_only_post_is_taken(served: RunningHub, path: str, method: str) -> None:
    async with served.session.request(method, path, headers=ACCEPT) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (await answer.json(content_type=None))["code"] == "method_not_allowed"


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_older_revision_is_spoken(served: RunningHub, revision: str) -> None:
    client = {"name": "test", "version": "1"}
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": client}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    async with served.session.post("/mcp", data=json.dumps(message), headers=JSON) as answer:
        told = await answer.json()
    assert told["result"]["protocolVersion"] == revision
    assert told["result"]["serverInfo"]["name"] == "agent-hub"
    assert "Mcp-Session-Id" not in answer.headers


async def test_the_newest_revision_is_spoken_and_an_unknown_one_is_refused(
    served: RunningHub,
) -> None:
    body, headers = call("get_my_identity", MODERN)
    async with served.session.post("/mcp", data=body, headers={**JSON, **headers}) as answer:
        assert (await answer.json())["result"]["resultType"] == "complete"
    body = body.replace(MODERN.encode(), b"2099-01-01")
    headers["Mcp-Protocol-Version"] = "2099-01-01"
    async with served.session.post("/mcp", data=body, headers={**JSON, **headers}) as answer:
        assert answer.status == 400
        assert MODERN in str((await answer.json())["error"]["data"])


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a": 1, "a": 2}', b"[" * 100_000, b'"\\ud800"', b"NaN", b"\xff"],
    ids=["empty", "half", "twice", "deep", "surrogate", "nan", "not-utf-8"],
)
async def test_what_is_not_strict_json_is_a_parse_error(served: RunningHub, body: bytes) -> None:
    async with served.session.post("/mcp", data=body, headers=JSON) as answer:
        assert answer.status == 400
        told = await answer.json()
    assert (told["id"], told["error"]["code"]) == (None, -32700)
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("message", [[], 1, {}, {"jsonrpc": "2.0", "id": 1}, {"method": []}])
async def test_json_that_is_no_message_is_refused(served: RunningHub, message: Any) -> None:
    async with served.session.post("/mcp", json=message, headers=JSON) as answer:
        assert answer.status == 400


async def test_a_body_over_a_mebibyte_is_refused(served: RunningHub) -> None:
    body, _ = call("send_message", message="x" * 2**20)
    answer = await raw_call(served, "POST", "/mcp", body)
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
async def test_a_foreign_page_gets_no_further_than_the_gate(
    served: RunningHub, headers: dict[str, str], status: int
) -> None:
    body, _ = call("get_my_identity")
    answer = await raw_call(served, "POST", "/mcp/", body, headers)
    assert answer.status == status


async def test_an_allowed_page_may_call(clock: ManualClock) -> None:
    page = "https://ide.example"
    async with running_hub(clock=clock, cors_origin=(page,)) as hub:
        asked = {
            "Origin": page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "mcp-protocol-version",
        }
        async with hub.session.options("/mcp", headers=asked) as answer:
            assert "Mcp-Protocol-Version" in answer.headers["Access-Control-Allow-Headers"]
        body, _ = call("get_my_identity")
        async with hub.session.post("/mcp", data=body, headers={**JSON, "Origin": page}) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == page


async def test_the_root_logger_stays_as_it_was(clock: ManualClock) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    async with running_hub(clock=clock) as hub, ide(hub, LEGACY) as alpha:
        await alpha.read("alpha")
    assert (root.level, root.handlers) == before


async def test_calls_count_under_the_door_they_came_by(served: RunningHub) -> None:
    async with ide(served) as alpha:
        await alpha.send("alpha", "beta")
    async with served.session.get("/metrics") as answer:
        text = await answer.text()
    assert 'agenthub_messages_accepted_total{kind="direct",via="mcp"} 1.0' in text

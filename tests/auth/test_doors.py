"""Every route of the router, with every kind of credential: none can be forgotten here."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from aiohttp import WSServerHandshakeError
from multidict import CIMultiDictProxy

from agent_hub.auth.attempts import FAILURES_AT_ONCE
from agent_hub.core.principal import Scope
from mcp_bridge.arguments import tools
from mcp_bridge.scopes import OF_TOOLS
from tests.auth.guarded import Guarded, bearer, guarded_hub
from tests.clock import ManualClock
from tests.mcp.door import ENVELOPE, MODERN, MODERN_HEADERS

MESSAGE = "m_" + "A" * 22
MCP = {"Accept": "application/json, text/event-stream"}


class Example(NamedTuple):
    """A request that is well in all but its credential. `scopes`: one of them is needed."""

    scopes: tuple[Scope, ...]
    body: dict[str, Any] | None = None
    query: Mapping[str, str] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})


class Answer(NamedTuple):
    """A response that was read."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def tool(called: str, **arguments: Any) -> dict[str, Any]:
    return rpc("tools/call", name=called, arguments=arguments)


GUARDED: dict[tuple[str, str], Example] = {
    ("POST", "/api/v1/agents/register"): Example((Scope.REGISTER,), {"agent_id": "beta"}),
    ("GET", "/api/v1/agents"): Example((Scope.LIST,)),
    ("GET", "/api/v1/agents/{agent_id}"): Example((Scope.LIST,)),
    ("DELETE", "/api/v1/agents/{agent_id}"): Example((Scope.REGISTER, Scope.ADMIN)),
    ("POST", "/api/v1/agents/{agent_id}/heartbeat"): Example((Scope.REGISTER, Scope.READ), {}),
    ("POST", "/api/v1/messages"): Example(
        (Scope.SEND,), {"from": "beta", "to": "alpha", "text": "hello"}
    ),
    ("GET", "/api/v1/messages"): Example((Scope.READ,), query={"agent_id": "beta"}),
    ("POST", "/api/v1/messages/receive"): Example((Scope.READ,), {"agent_id": "beta"}),
    ("POST", "/api/v1/messages/ack"): Example((Scope.READ,), {"agent_id": "beta"}),
    ("GET", "/api/v1/messages/{message_id}"): Example(
        (Scope.READ, Scope.SEND), query={"agent_id": "beta"}
    ),
    ("GET", "/api/v1/inboxes"): Example((Scope.ADMIN,)),
    ("GET", "/metrics"): Example((Scope.ADMIN,)),
    ("GET", "/ws/{agent_id}"): Example(
        (Scope.READ,),
        headers={
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    ),
    ("POST", "/mcp"): Example(
        (Scope.SEND,),
        tool("send_message", sender_id="beta", recipient_id="alpha", message="hello"),
        headers=MCP,
    ),
    ("POST", "/mcp/"): Example((Scope.READ,), tool("get_messages", client_id="beta"), headers=MCP),
}
OPEN = {
    ("GET", path) for path in ("/", "/docs", "/api/v1/openapi.json", "/livez", "/readyz", "/health")
} | {("GET", "/api/mcp/health")}
SOCKET = ("GET", "/ws/{agent_id}")
REGISTER = ("POST", "/api/v1/agents/register")


@pytest.fixture
async def guarded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Guarded]:
    async with guarded_hub(tmp_path, clock) as guarded:
        yield guarded


def routes(guarded: Guarded) -> set[tuple[str, str]]:
    """All that the router knows; HEAD is GET."""
    return {
        (route.method, route.resource.canonical)
        for route in guarded.hub.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


async def test_every_route_is_known_here(guarded: Guarded) -> None:
    assert routes(guarded) == {*GUARDED, *OPEN}


async def ask(
    guarded: Guarded, method: str, path: str, example: Example, authorization: str | None
) -> Answer:
    path = path.replace("{agent_id}", "beta").replace("{message_id}", MESSAGE)
    headers = dict(example.headers)
    if authorization is not None:
        headers["Authorization"] = authorization
    async with guarded.hub.session.request(
        method, path, json=example.body, params=example.query, headers=headers
    ) as answer:
        body = b"" if answer.status == 101 else await answer.read()
        return Answer(answer.status, answer.headers, body)


def challenge_of(answer: Answer) -> dict[str, str]:
    """The parameters of the one Bearer challenge."""
    [challenge] = answer.headers.getall("WWW-Authenticate")
    assert challenge.startswith("Bearer ")
    return dict(re.findall(r'(\w+)="([^"]*)"', challenge))


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=str)
async def test_a_guarded_route_lets_nobody_in_without_a_good_credential(
    guarded: Guarded, method: str, path: str
) -> None:
    bad = await guarded.bad_ones()
    assert len(bad) < FAILURES_AT_ONCE  # who fails too often has to wait: another test
    if (method, path) == SOCKET:
        del bad["none at all"]  # it may come in the first frame
    for name, authorization in bad.items():
        answer = await ask(guarded, method, path, GUARDED[method, path], authorization)
        problem = answer.json()
        assert (answer.status, problem["code"]) == (401, "unauthenticated"), name
        challenge = challenge_of(answer)
        assert challenge["realm"] == "agent-hub"
        assert challenge.get("error") == (None if authorization is None else "invalid_token")


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=str)
async def test_a_guarded_route_names_the_scope_that_is_missing(
    guarded: Guarded, method: str, path: str
) -> None:
    example = GUARDED[method, path]
    lacking = await guarded.without(*example.scopes)
    answer = await ask(guarded, method, path, example, f"Bearer {lacking}")
    problem = answer.json()
    assert (answer.status, problem["code"]) == (403, "insufficient_scope")
    challenge = challenge_of(answer)
    assert challenge["error"] == "insufficient_scope"
    assert challenge["scope"] == example.scopes[0]
    assert example.scopes[0] in problem["detail"]


@pytest.mark.parametrize(("method", "path"), GUARDED, ids=str)
async def test_a_guarded_route_lets_a_good_credential_in(
    guarded: Guarded, method: str, path: str
) -> None:
    example = GUARDED[method, path]
    scopes = {example.scopes[0], Scope.REGISTER}
    token = await guarded.token("beta", scopes=scopes)
    await ask(guarded, *REGISTER, GUARDED[REGISTER], f"Bearer {token}")
    answer = await ask(guarded, method, path, example, f"Bearer {token}")
    assert answer.status in (200, 201, 202, 204, 101, 404)
    assert (answer.status == 404) == (path == "/api/v1/messages/{message_id}")
    assert "WWW-Authenticate" not in answer.headers


async def test_a_head_request_is_no_way_round(guarded: Guarded) -> None:
    for (method, path), example in GUARDED.items():
        if method == "GET" and (method, path) != SOCKET:
            answer = await ask(guarded, "HEAD", path, example, None)
            assert answer.status == 401
            assert challenge_of(answer)


@pytest.mark.parametrize(("method", "path"), sorted(OPEN))
async def test_an_open_route_asks_for_nothing(guarded: Guarded, method: str, path: str) -> None:
    answer = await ask(guarded, method, path, Example(()), None)
    assert answer.status == 200


async def test_health_tells_strangers_its_status_and_nothing_else(guarded: Guarded) -> None:
    answer = await ask(guarded, "GET", "/health", Example(()), None)
    assert answer.json() == {"status": "ok"}
    token = await guarded.token()
    answer = await ask(guarded, "GET", "/health", Example(()), f"Bearer {token}")
    assert answer.json()["backend"] == "memory"
    answer = await ask(guarded, "GET", "/health", Example(()), "Bearer made up")
    assert answer.status == 401


async def test_metrics_can_be_opened(tmp_path: Path, clock: ManualClock) -> None:
    async with guarded_hub(tmp_path, clock, metrics_open=True) as guarded:
        answer = await ask(guarded, "GET", "/metrics", Example(()), None)
        assert answer.status == 200


async def test_two_credentials_are_none(guarded: Guarded) -> None:
    """Two readers could choose differently which one counts."""
    token = await guarded.token()
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer other")]
    async with guarded.hub.session.get("/api/v1/agents", headers=headers) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("name", ["token", "access_token", "authorization"])
async def test_a_credential_in_the_query_is_not_looked_at(guarded: Guarded, name: str) -> None:
    token = await guarded.token()
    async with guarded.hub.session.get("/api/v1/agents", params={name: token}) as answer:
        assert answer.status == 401
    with pytest.raises(WSServerHandshakeError) as refused:
        await guarded.hub.session.ws_connect("/ws/beta", params={name: token})
    assert refused.value.status == 422


async def test_the_scheme_is_read_whatever_its_case(guarded: Guarded) -> None:
    token = await guarded.token()
    for scheme in ("bearer", "BEARER", "Bearer"):
        answer = await ask(guarded, "GET", "/api/v1/agents", Example(()), f"{scheme} {token}")
        assert answer.status == 200


async def test_who_fails_too_often_is_told_to_wait(guarded: Guarded) -> None:
    for _ in range(FAILURES_AT_ONCE):
        answer = await ask(guarded, "GET", "/api/v1/agents", Example(()), "Bearer made up")
        assert answer.status == 401
    answer = await ask(guarded, "GET", "/api/v1/agents", Example(()), "Bearer made up")
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 0
    answer = await ask(guarded, "GET", "/api/v1/agents", Example(()), None)
    assert answer.status == 401  # who shows nothing guesses nothing


async def test_a_web_page_can_read_the_challenge(tmp_path: Path, clock: ManualClock) -> None:
    origin = "https://page.example"
    async with guarded_hub(tmp_path, clock, cors_origin=(origin,)) as guarded:
        answer = await ask(
            guarded, "GET", "/api/v1/agents", Example((), headers={"Origin": origin}), None
        )
        assert answer.status == 401
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]


# --- MCP ------------------------------------------------------------------------------------

NEEDED: dict[str, tuple[tuple[Scope, ...], dict[str, Any]]] = {
    "checkin_client": ((Scope.REGISTER,), tool("checkin_client", client_id="beta", name="Beta")),
    "send_message": (
        (Scope.SEND,),
        tool("send_message", sender_id="beta", recipient_id="alpha", message="hello"),
    ),
    "send_message to all": (
        (Scope.BROADCAST,),
        tool("send_message", sender_id="beta", recipient_id="ALL", message="hello"),
    ),
    "send_message_and_wait": (
        (Scope.SEND, Scope.READ),
        tool("send_message_and_wait", sender_id="beta", recipient_id="alpha", message="hello"),
    ),
    "get_messages": ((Scope.READ,), tool("get_messages", client_id="beta")),
    "get_my_identity": ((), tool("get_my_identity")),
    "an inbox": ((Scope.READ,), rpc("resources/read", uri="inbox://beta")),
    "a message": ((Scope.READ,), rpc("resources/read", uri=f"message://beta/{MESSAGE}")),
    "the agents": ((Scope.LIST,), rpc("resources/read", uri="agents://")),
    "the tools": ((), rpc("tools/list")),
    "the resources": ((), rpc("resources/list")),
    "a handshake": (
        (),
        rpc(
            "initialize",
            protocolVersion="2025-06-18",
            capabilities={},
            clientInfo={"name": "x", "version": "1"},
        ),
    ),
}


def test_every_tool_is_known_here() -> None:
    named = {tool.name for tool in tools()}
    assert named == set(OF_TOOLS)
    assert named <= set(NEEDED)


@pytest.mark.parametrize("name", NEEDED)
async def test_each_call_of_mcp_needs_a_credential(guarded: Guarded, name: str) -> None:
    _, message = NEEDED[name]
    example = Example((), message, headers=MCP)
    for authorization in (None, "Bearer made up"):
        answer = await ask(guarded, "POST", "/mcp", example, authorization)
        assert answer.status == 401
        assert challenge_of(answer)


@pytest.mark.parametrize("name", [name for name, (scopes, _) in NEEDED.items() if scopes])
async def test_each_call_of_mcp_names_the_scope_that_is_missing(
    guarded: Guarded, name: str
) -> None:
    scopes, message = NEEDED[name]
    for scope in scopes:
        lacking = await guarded.without(scope)
        answer = await ask(
            guarded, "POST", "/mcp", Example((), message, headers=MCP), f"Bearer {lacking}"
        )
        assert answer.status == 403
        assert challenge_of(answer)["scope"] == scope


async def test_a_stream_of_mcp_names_the_scope_that_is_missing(guarded: Guarded) -> None:
    listen = rpc(
        "subscriptions/listen",
        notifications={"resourceSubscriptions": ["inbox://beta"]},
        _meta=ENVELOPE,
    )
    headers = {**MODERN_HEADERS, "Mcp-Method": "subscriptions/listen"}
    lacking = await guarded.without(Scope.READ)
    answer = await ask(
        guarded, "POST", "/mcp", Example((), listen, headers=headers), f"Bearer {lacking}"
    )
    assert answer.status == 403
    assert MODERN == "2026-07-28"


@pytest.mark.parametrize("name", NEEDED)
async def test_each_call_of_mcp_is_answered_to_a_good_credential(
    guarded: Guarded, name: str
) -> None:
    scopes, message = NEEDED[name]
    token = await guarded.token("beta", scopes=scopes)
    if name == "send_message_and_wait":
        message = tool(
            "send_message_and_wait", sender_id="beta", recipient_id="a", message="x", timeout=0
        )
    answer = await ask(
        guarded, "POST", "/mcp", Example((), message, headers=MCP), f"Bearer {token}"
    )
    assert answer.status == 200


async def test_a_jwt_is_as_good_as_a_token(guarded: Guarded) -> None:
    jwt = guarded.issuer.token()
    async with guarded.hub.session.get("/api/v1/agents", headers=bearer(jwt)) as answer:
        assert answer.status == 200

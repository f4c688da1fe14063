"""No web page reaches the hub: Host, Origin and content type are checked on every route."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from agent_hub.app import create_app
from agent_hub.config import Settings
from tests.server import RunningHub, running_hub
from tests.web.caller import JSON_HEADERS, MESSAGES
from tests.web.raw import Answer, call, connected

FOREIGN = "https://evil.example"
ALLOWED = "https://app.example"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def calls_of(app: web.Application) -> list[tuple[str, str]]:
    """Every method and path of the router, and two calls that it does not know."""
    calls = [
        (route.method, route.resource.canonical.replace("{", "").replace("}", ""))
        for route in app.router.routes()
        if route.resource is not None
    ]
    return [*calls, ("GET", "/nowhere"), ("DELETE", "/health")]


# The walk is made here, so that a route added later cannot escape these tests.
CALLS = calls_of(create_app(Settings()))


@pytest.fixture
async def with_cors() -> AsyncIterator[RunningHub]:
    async with running_hub(cors_origin=(ALLOWED,)) as served:
        yield served


def headers_for(path: str, **headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {**(UPGRADE if path.startswith("/ws/") else {}), **named}


def refusal(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.headers["content-type"], answer.json()["code"]


def test_the_walk_finds_every_kind_of_route() -> None:
    assert ("GET", "/ws/agent_id") in CALLS
    assert ("POST", MESSAGES) in CALLS
    assert ("GET", "/") in CALLS
    assert ("GET", "/metrics") in CALLS
    assert len(CALLS) > 20


@pytest.mark.parametrize("headers", [{"Origin": FOREIGN}, {"Host": "evil.example"}])
async def test_a_foreign_page_is_refused_on_every_route(
    served: RunningHub, headers: dict[str, str]
) -> None:
    status, code = (403, "wrong_origin") if "Origin" in headers else (421, "wrong_host")
    for method, path in CALLS:
        answer = await call(served, method, path, headers=headers_for(path, **headers))
        assert answer.status == status, (method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert "access-control-allow-origin" not in answer.headers
        if method != "HEAD":
            assert answer.json()["code"] == code
    assert served.hub.open_subscriptions == 0
    assert served.hub.registered_agents == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_an_image_in_a_foreign_page_is_refused_on_every_route(
    served: RunningHub, site: str
) -> None:
    embedded = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    for method, path in CALLS:
        answer = await call(served, method, path, headers={**headers_for(path), **embedded})
        assert answer.status == 403, (method, path)
        if method != "HEAD":
            assert answer.json()["code"] == "wrong_origin"
    assert served.hub.open_subscriptions == 0


async def test_a_link_in_a_foreign_page_opens_the_hubs_page_and_nothing_else(
    served: RunningHub,
) -> None:
    followed = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    assert (await call(served, "GET", "/", headers=followed)).status == 200
    framed = {**followed, "Sec-Fetch-Dest": "iframe"}
    assert (await call(served, "GET", "/", headers=framed)).status == 403
    look = f"{MESSAGES}?agent_id=known"
    assert (await call(served, "GET", look, headers=followed)).status == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_the_own_page_and_a_typed_address_get_in(served: RunningHub, site: str) -> None:
    answer = await call(served, "GET", "/health", headers={"Sec-Fetch-Site": site})
    assert answer.status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_a_body_that_a_page_may_post_is_refused_on_every_route(
    served: RunningHub, kind: str
) -> None:
    for path in {path for _, path in CALLS}:
        answer = await call(served, "POST", path, b'{"agent_id": "a"}', {"Content-Type": kind})
        assert refusal(answer) == (415, "application/problem+json", "unsupported_media_type"), path
        assert b"the header Content-Type: application/json" in answer.body
    assert served.hub.registered_agents == 0


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://localhost",
        "https://localhost:{port}",
        "http://localhost:{port}.evil.example",
        "http://127.0.0.1:1",
        "HTTP://EVIL.example",
    ],
)
async def test_what_only_looks_like_the_hub_is_foreign(served: RunningHub, origin: str) -> None:
    given = {"Host": f"localhost:{served.port}", "Origin": origin.format(port=served.port)}
    answer = await call(served, "GET", "/health", headers=given)
    assert refusal(answer)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LocalHost"])
@pytest.mark.parametrize("port", ["", ":8080"])
async def test_the_hub_answers_to_its_own_names_and_its_own_page(
    served: RunningHub, host: str, port: str
) -> None:
    for origin in ({}, {"Origin": f"http://{host.lower()}{port}"}):
        headers = {"Host": f"{host}{port}", **origin}
        assert (await call(served, "GET", "/health", headers=headers)).status == 200


@pytest.mark.parametrize(
    "host", ["localhost.evil.example", "localhost:80:80", "evil.example:8080", "127.0.0.2", "::1"]
)
async def test_no_other_name_is_the_hub(served: RunningHub, host: str) -> None:
    answer = await call(served, "GET", "/health", headers={"Host": host})
    assert refusal(answer) == (421, "application/problem+json", "wrong_host")


@pytest.mark.parametrize(
    "request_line",
    ["GET /health HTTP/1.0\r\n", "GET /health HTTP/1.1\r\nHost:\r\n", "GET /health\r\n"],
)
async def test_who_names_no_host_does_not_get_in(served: RunningHub, request_line: str) -> None:
    async with connected(served) as connection:
        await connection.write(f"{request_line}\r\n".encode())
        assert refusal(await connection.answer())[0] == 421


async def test_a_name_in_the_request_target_counts_before_the_header(served: RunningHub) -> None:
    answer = await call(served, "GET", "http://evil.example/health", headers={"Host": "localhost"})
    assert refusal(answer) == (421, "application/problem+json", "wrong_host")
    assert (await call(served, "GET", "http://localhost:8080/health")).status == 200


async def test_an_agent_without_an_origin_gets_in_everywhere(served: RunningHub) -> None:
    for method, path in CALLS:
        answer = await call(served, method, path)
        assert answer.status not in (403, 421, 500), (method, path)


async def test_the_own_origin_opens_a_socket_and_a_foreign_one_does_not(
    served: RunningHub,
) -> None:
    async with served.session.ws_connect("/ws/beta", origin=served.url) as socket:
        assert (await socket.receive_json())["type"] == "hub.welcome"
    answer = await call(served, "GET", "/ws/beta", headers=headers_for("/ws/", Origin=FOREIGN))
    assert refusal(answer) == (403, "application/problem+json", "wrong_origin")


async def test_a_hub_for_other_machines_answers_to_any_name() -> None:
    async with running_hub(host="0.0.0.0", insecure=True) as served:
        answer = await call(served, "GET", "/health", headers={"Host": "hub.example"})
        assert answer.status == 200
        answer = await call(
            served, "GET", "/health", headers={"Host": "hub.example", "Origin": FOREIGN}
        )
        assert answer.status == 403


async def test_no_answer_tells_of_what_the_hub_is_made(served: RunningHub) -> None:
    tool = b"""{"jsonrpc": "2.0", "id": 1, "method": "tools/call",
               "params": {"name": "get_my_identity", "arguments": {}}}"""
    accepted = {"Accept": "application/json, text/event-stream"}
    for answer in (
        await call(served, "GET", "/health"),
        await call(served, "GET", "/nowhere"),
        await call(served, "GET", "/ws/beta", headers=UPGRADE),
        await call(served, "POST", "/mcp", tool, accepted),
        await call(served, "NOT HTTP", "/"),
    ):
        assert answer.headers["server"] == "agent-hub", answer.status


# --- CORS ---------------------------------------------------------------------------------


async def test_no_cors_header_until_an_origin_is_named(served: RunningHub) -> None:
    async with served.session.get("/health", headers={"Origin": served.url}) as answer:
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert "Vary" not in answer.headers
    preflight = {"Origin": served.url, "Access-Control-Request-Method": "POST"}
    async with served.session.options(MESSAGES, headers=preflight) as answer:
        assert answer.status == 405
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_an_allowed_origin_is_echoed_exactly_and_never_with_credentials(
    with_cors: RunningHub,
) -> None:
    async with with_cors.session.get("/health", headers={"Origin": ALLOWED}) as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
        assert answer.headers["Vary"] == "Origin"
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_refusal_can_be_read_by_an_allowed_page(with_cors: RunningHub) -> None:
    headers = {**JSON_HEADERS, "Origin": ALLOWED}
    async with with_cors.session.post(MESSAGES, data=b"{}", headers=headers) as answer:
        assert answer.status == 422
        assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED


@pytest.mark.parametrize("headers", [{}, {"Origin": FOREIGN}])
async def test_with_cors_every_answer_varies_by_origin(
    with_cors: RunningHub, headers: dict[str, str]
) -> None:
    async with with_cors.session.get("/health", headers=headers) as answer:
        assert answer.status == (403 if headers else 200)
        assert answer.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_preflight_is_answered_for_an_allowed_origin_on_every_route(
    with_cors: RunningHub,
) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, idempotency-key",
    }
    for path in {path for _, path in CALLS}:
        headers = {"Origin": ALLOWED, **asked}
        async with with_cors.session.options(path, headers=headers) as answer:
            assert answer.status == 204, path
            assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]
            assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
            assert answer.headers["Vary"] == "Origin"
        headers = {"Origin": FOREIGN, **asked}
        async with with_cors.session.options(path, headers=headers) as answer:
            assert answer.status == 403, path


async def test_an_allowed_page_opens_a_socket(with_cors: RunningHub) -> None:
    async with with_cors.session.ws_connect("/ws/beta", origin=ALLOWED) as socket:
        assert (await socket.receive_json())["type"] == "hub.welcome"

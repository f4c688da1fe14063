"""The description of the REST door is true, whole and of a size to be read."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import jsonschema_rs
import pytest

from agent_hub.clock import SystemClock
from agent_hub.core.bounds import MAX_ASK_SECONDS, MAX_LOOKED_AT
from agent_hub.core.message import AGENT_ID_PATTERN
from agent_hub.wire.problems import STATUS
from tests.auth.memory_store import MemoryStore
from tests.server import RunningHub, running_hub
from tests.web.caller import ACK, AGENTS, INBOXES, MESSAGES, RECEIVE, REGISTER, Caller

DOCUMENT = "/api/v1/openapi.json"
UNDESCRIBED = {"/", "/docs", "/ws/{agent_id}", "/mcp", "/mcp/", DOCUMENT}
"""Two pages, a socket, what describes itself, and the description."""

REFUSED = {"forbidden", "insufficient_scope"}

Json = dict[str, Any]


@pytest.fixture
async def document(rest: Caller) -> Json:
    told = await rest.get(DOCUMENT)
    assert isinstance(told, dict)
    return told


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def resolve(document: Json, thing: Json) -> Json:
    """What a reference stands for."""
    while "$ref" in thing:
        place: Any = document
        for name in thing["$ref"].removeprefix("#/").split("/"):
            place = place[name]
        thing = place
    return thing


def nodes(thing: Any) -> Iterator[Json]:
    if isinstance(thing, dict):
        yield thing
    for inner in thing.values() if isinstance(thing, dict) else thing:
        if isinstance(inner, dict | list):
            yield from nodes(inner)


def parameter(document: Json, method: str, path: str, name: str) -> Json:
    given = document["paths"][path][method]["parameters"]
    resolved = [resolve(document, one) for one in given]
    return next(one for one in resolved if one["name"] == name)


async def test_every_route_is_described_and_nothing_else(
    document: Json, served: RunningHub
) -> None:
    routed = {
        (route.method, route.resource.canonical)
        for route in served.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(method, path) for method, path, _ in operations(document)}
    assert described == {(method, path) for method, path in routed if path not in UNDESCRIBED}


@pytest.fixture
async def guarded() -> AsyncIterator[RunningHub]:
    """A hub that asks for credentials, and knows none that is good."""
    clock = SystemClock()
    store = MemoryStore(clock.time)
    async with running_hub(clock=clock, auth=("token",), credentials=store) as hub:
        yield hub


@pytest.fixture
async def asking(guarded: RunningHub) -> Json:
    """Its document."""
    async with guarded.session.get(DOCUMENT) as answer:
        told = await answer.json()
    assert isinstance(told, dict)
    return told


async def test_every_reference_leads_somewhere_and_nothing_is_left_over(
    document: Json, asking: Json
) -> None:
    hold_references(document)
    hold_references(asking)


def hold_references(document: Json) -> None:
    used = {node["$ref"] for node in nodes(document) if "$ref" in node}
    for reference in used:
        assert resolve(document, {"$ref": reference})
    there = {
        f"#/components/{kind}/{name}"
        for kind, components in document["components"].items()
        for name in components
    }
    used |= {f"#/components/securitySchemes/{name}" for one in document["security"] for name in one}
    assert used == there


async def test_a_hub_that_asks_for_no_credential_says_so_and_describes_none(
    document: Json,
) -> None:
    assert document["info"]["description"].endswith("This hub asks for no credential.")
    assert document["security"] == []
    assert "securitySchemes" not in document["components"]
    for _, path, operation in operations(document):
        assert "security" not in operation, path
        assert "401" not in operation["responses"], path


async def test_a_hub_that_asks_for_credentials_says_for_which_call_and_what_a_refusal_is(
    asking: Json, guarded: RunningHub
) -> None:
    assert "This hub asks for a credential" in asking["info"]["description"]
    assert asking["security"] == [{"bearer": []}]
    scheme = asking["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    needed = set()
    for method, path, operation in operations(asking):
        security = operation.get("security", asking["security"])
        assert ("401" in operation["responses"]) == bool(security), path
        if security != asking["security"]:
            assert security in ([], [{"bearer": []}, {}]), path
            continue
        needed.add(path)
        for status, codes in (("401", {"unauthenticated"}), ("403", REFUSED)):
            answer = resolve(asking, operation["responses"][status])
            schema = answer["content"]["application/problem+json"]["schema"]
            assert codes <= set(schema["properties"]["code"]["enum"]), path
            assert "WWW-Authenticate" in answer["headers"], path
        place = re.sub(r"{\w+}", "m_" + "a" * 22, path)
        async with guarded.session.request(method, place) as refused:
            assert refused.status == 401, path
            assert "WWW-Authenticate" in refused.headers
    described = {path for _, path, _ in operations(asking)}
    assert described - needed == {"/health", "/api/mcp/health", "/livez", "/readyz"}


async def test_the_page_says_what_each_call_needs(guarded: RunningHub, served: RunningHub) -> None:
    async with guarded.session.get("/docs") as answer:
        page = await answer.text()
    for said in ("This hub asks for a credential", "Needs a credential.", "Needs no credential."):
        assert said in page
    assert page.count("A credential may be left out.") == 2
    async with served.session.get("/docs") as answer:
        page = await answer.text()
    assert "This hub asks for no credential." in page
    assert "Needs" not in page


async def test_the_document_can_be_read(document: Json, asking: Json) -> None:
    assert len(json.dumps(document, separators=(",", ":"))) < 40_000
    assert len(json.dumps(asking, separators=(",", ":"))) < 45_000
    ids = [op["operationId"] for _, _, op in operations(document) if "operationId" in op]
    assert len(ids) == len(set(ids))
    for method, path, operation in operations(document):
        assert operation["summary"], (method, path)
        assert operation["tags"][0] in {tag["name"] for tag in document["tags"]}
        for given in operation["parameters"]:
            assert resolve(document, given)["description"]
    for name, schema in document["components"]["schemas"].items():
        about = schema["description"]
        # msgspec makes one of a struct without a docstring, out of its signature.
        assert not about.startswith(f"{name}("), name
        assert "\n  " not in about


async def test_the_bounds_are_those_of_the_core(document: Json) -> None:
    limit = parameter(document, "get", MESSAGES, "limit")
    assert limit["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_LOOKED_AT,
        "default": 50,
    }
    inbox = parameter(document, "get", MESSAGES, "agent_id")
    assert inbox["required"] is True
    assert inbox["schema"]["pattern"] == AGENT_ID_PATTERN
    agent = parameter(document, "delete", f"{AGENTS}/{{agent_id}}", "agent_id")
    assert (agent["in"], agent["required"]) == ("path", True)
    draft = document["components"]["schemas"]["SendBody"]["properties"]
    assert {"minimum", "maximum", "description"} <= set(draft["ttl"]["anyOf"][0])
    assert draft["wait"]["anyOf"][0]["maximum"] == MAX_ASK_SECONDS


async def test_every_refusal_is_a_problem_with_the_codes_of_its_status(document: Json) -> None:
    for method, path, operation in operations(document):
        for status, given in operation["responses"].items():
            answer = resolve(document, given)
            assert "X-Request-Id" in answer["headers"]
            if int(status) < 400 or path == "/readyz":
                continue
            [media_type] = answer["content"]
            assert media_type == "application/problem+json"
            possible = answer["content"][media_type]["schema"]["properties"]["code"]["enum"]
            assert {STATUS[code] for code in possible} == {int(status)}, (method, path)
            assert ("Retry-After" in answer["headers"]) == (int(status) in (429, 503))


async def test_only_a_send_takes_a_key_and_only_counted_calls_tell_what_is_left(
    document: Json,
) -> None:
    for method, path, operation in operations(document):
        names = {resolve(document, one)["name"] for one in operation["parameters"]}
        assert ("Idempotency-Key" in names) == ((method, path) == ("POST", MESSAGES))
        counted = "429" in operation["responses"]
        for answer in operation["responses"].values():
            headers = resolve(document, answer)["headers"]
            if "RateLimit" in headers:
                assert counted
            if "Idempotency-Replayed" in headers:
                assert (method, path) == ("POST", MESSAGES)


async def test_bodies_that_may_be_empty_are_not_required(document: Json) -> None:
    needed = {
        path: op["requestBody"]["required"]
        for _, path, op in operations(document)
        if "requestBody" in op
    }
    assert needed == {
        REGISTER: True,
        f"{AGENTS}/{{agent_id}}/heartbeat": False,
        MESSAGES: True,
        RECEIVE: True,
        ACK: True,
    }


async def test_what_is_sent_is_what_is_described(document: Json, rest: Caller) -> None:
    """Every answer of a conversation, held against its schema, and no key beside it."""

    def check(method: str, path: str, told: Any) -> None:
        answers = document["paths"][path][method]["responses"]
        status = next(status for status in ("200", "202") if status in answers)
        schema = answers[status]["content"]["application/json"]["schema"]
        closed = json.loads(json.dumps({"components": document["components"], **schema}))
        for node in nodes(closed["components"]["schemas"]):
            if node.get("type") == "object" and "properties" in node:
                node["additionalProperties"] = False
        jsonschema_rs.Draft202012Validator(closed).validate(told)

    async def post(path: str, body: Json, status: int = 200) -> Any:
        told = await rest.post(path, body, status=status)
        check("post", path, told)
        return told

    await post(REGISTER, {"agent_id": "beta", "name": "Beta", "metadata": {"a": 1}}, 201)
    await post(REGISTER, {"agent_id": "alpha", "capabilities": ["x"]}, 201)
    check("get", AGENTS, await rest.get(AGENTS))
    check("get", f"{AGENTS}/{{agent_id}}", await rest.get(f"{AGENTS}/beta"))
    heartbeat = await rest.post(f"{AGENTS}/beta/heartbeat", {})
    check("post", f"{AGENTS}/{{agent_id}}/heartbeat", heartbeat)
    await post(MESSAGES, {"from": "beta", "to": "ALL", "text": "x"}, 202)
    await post(MESSAGES, {"from": "beta", "to": "alphb", "text": "x"}, 202)
    await post(MESSAGES, {"from": "beta", "to": "alpha", "text": "x", "wait": 0}, 202)
    sent = await post(MESSAGES, {"from": "beta", "to": "alpha", "text": "x"}, 202)
    check("get", MESSAGES, await rest.look("alpha", limit=2))
    await post(RECEIVE, {"agent_id": "alpha"})
    await post(ACK, {"agent_id": "alpha", "ids": [sent["message_id"]]})
    standing = await rest.get(f"{MESSAGES}/{sent['message_id']}", agent_id="beta")
    check("get", f"{MESSAGES}/{{message_id}}", standing)
    assert (await rest.get(INBOXES))["total"] > 0
    check("get", INBOXES, await rest.get(INBOXES))
    for path in ("/health", "/api/mcp/health", "/livez", "/readyz"):
        check("get", path, await rest.get(path))
    problem = await rest.post(MESSAGES, {}, status=422)
    closed = {"components": document["components"], "$ref": "#/components/schemas/Problem"}
    jsonschema_rs.Draft202012Validator(closed).validate(problem)


async def test_the_schemas_are_schemas(document: Json) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)
    for node in nodes(document):
        if isinstance(node.get("pattern"), str):
            re.compile(node["pattern"])

"""Bad input never does harm: each answer names the field, and nothing is half done."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from agent_hub.core.agent import (
    MAX_CAPABILITIES,
    MAX_CAPABILITY_CHARACTERS,
    MAX_METADATA_BYTES,
    MAX_NAME_CHARACTERS,
)
from agent_hub.core.bounds import MAX_SETTLED_IDS
from agent_hub.core.message import MAX_CONTENT_BYTES
from agent_hub.web.bodies import BODY_SECONDS, MAX_BODY_BYTES
from agent_hub.wire.strict_json import MAX_DEPTH
from tests.clock import ManualClock, settle
from tests.patience import not_for_ever
from tests.server import RunningHub
from tests.web.caller import ACK, AGENTS, MESSAGES, RECEIVE, REGISTER, Caller
from tests.web.raw import call, connected
from tests.web.waiting import until

HEARTBEAT = f"{AGENTS}/known/heartbeat"
POSTS = [REGISTER, HEARTBEAT, MESSAGES, RECEIVE, ACK]
KNOWN = {"agent_id": "known", "name": "Known", "metadata": {"kept": True}}


@pytest.fixture(autouse=True)
async def unharmed(rest: Caller, served: RunningHub) -> AsyncIterator[None]:
    """Whatever a test sends, the register and the one inbox are afterwards as before."""
    await rest.post(REGISTER, KNOWN, status=201)
    await rest.send("known", "known", "still here")

    async def state() -> Any:
        agents = (await rest.get(AGENTS))["agents"]
        totals = replace(await served.hub.totals(), oldest_ready_age=0)
        return agents, (await rest.look("known"))["messages"], totals

    before = await state()
    yield
    assert await state() == before


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


NOT_JSON = [
    b"{",
    b"{}{}",
    b"nonsense",
    b"{'a': 1}",
    b'{"a": 1,}',
    b"// comment\n{}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": -Infinity}',
    b'{"a": 1e999}',
    b'{"a": -1e999}',
    b'{"a": ' + b"9" * 5_000 + b"}",
    b'{"a": 01}',
    b'{"a": 1, "a": 1}',
    b'{"b": {"a": 1, "\\u0061": 2}}',
    b'{"a": ' + deep(MAX_DEPTH) + b"}",
    b'{"a": ' + deep(100_000) + b"}",
    b'{"a": "\\ud800"}',
    b'{"a": "\\udc00\\ud800"}',
    b'{"\\udfff": 1}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\xff"}',
    b'{"a": "\xc0\xaf"}',
    b"\xef\xbb\xbf{}",
    '{"a": 1}'.encode("utf-16"),
    b'{"a": "\n"}',
    b'{"a": "\x00"}',
    b"\x00",
    b" ",
]


@pytest.mark.parametrize("path", POSTS)
async def test_what_is_not_strict_json_is_refused_everywhere(rest: Caller, path: str) -> None:
    for body in NOT_JSON:
        code, _ = await rest.refused(path, body, status=400)
        assert code == "malformed_json", body[:40]


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"true", b"[{}]"])
@pytest.mark.parametrize("path", POSTS)
async def test_what_is_not_an_object_is_refused_everywhere(
    rest: Caller, path: str, body: bytes
) -> None:
    assert await rest.refused(path, body, status=422) == ("invalid", [""])


async def test_no_detail_speaks_of_the_hubs_insides(rest: Caller) -> None:
    for body in NOT_JSON:
        told = await rest.call("POST", MESSAGES, body, status=400)
        for word in ("sys.", "Traceback", ".py", "object at", "agent_hub"):
            assert word not in told["detail"]


LARGE = 256 * 1024
LARGEST = 1_000_000
"""Nearly a whole body: what is slow to read would be read for many minutes."""


def many_keys() -> bytes:
    """Of which only the last two are the same."""
    keys = ",".join(f'"{number}":0' for number in range(LARGEST // 10))
    return f'{{{keys},"last":0,"last":0}}'.encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (many_keys(), 400),
        (json.dumps({" - at `$" * (LARGEST // 8) + "\n": 0}).encode(), 422),
        (json.dumps({"unknown field `" * (LARGEST // 15) + "\n": 0}).encode(), 422),
    ],
    ids=["many keys", "paths", "fields"],
)
async def test_no_body_keeps_the_hub_busy_while_others_wait(
    rest: Caller, body: bytes, status: int
) -> None:
    with not_for_ever():
        await rest.call("POST", MESSAGES, body, status=status)


@pytest.mark.parametrize("name", ["x" * LARGE, " - at `$" * 1_000, "two\nlines", "`"])
async def test_an_unknown_field_is_named_whatever_it_is_called_but_not_at_length(
    rest: Caller, name: str
) -> None:
    told = await rest.call("POST", MESSAGES, json.dumps({name: 0}).encode(), status=422)
    (fault,) = told["errors"]
    assert len(told["detail"]) < 300
    assert fault["pointer"] == f"/{name}" or fault["pointer"] == f"/{name[:64]}…"


@pytest.mark.parametrize(
    ("path", "body", "known"),
    [
        (REGISTER, {"agent-id": "new"}, "agent_id, session_id, name, capabilities, metadata"),
        (HEARTBEAT, {"state": "idle"}, "status"),
        (
            MESSAGES,
            {"from": "known", "to": "known", "content": "x"},
            "from, to, message, text, payload, type, reply_to, ttl, wait",
        ),
    ],
)
async def test_who_writes_an_unknown_field_is_told_the_known_ones(
    rest: Caller, path: str, body: dict[str, Any], known: str
) -> None:
    told = await rest.call("POST", path, json.dumps(body).encode(), status=422)
    assert told["detail"].endswith(f"; this takes {known}")


async def test_who_writes_an_unknown_parameter_is_told_the_known_ones(rest: Caller) -> None:
    told = await rest.call("GET", f"{AGENTS}?state=idle", status=422)
    assert told["detail"].endswith("unknown field `state`; this takes status, capability")


async def test_an_empty_body_is_an_empty_object(rest: Caller) -> None:
    assert await rest.refused(REGISTER, b"", status=422) == ("invalid", ["/agent_id"])
    assert await rest.refused(MESSAGES, b"", status=422) == ("invalid", ["/from"])


LABEL = "control and invisible characters are not allowed"
DRAFT = {"from": "known", "to": "known", "text": "x"}
REGISTRATION = {"agent_id": "new"}
TAKING = {"agent_id": "known"}

FAULTS: list[tuple[str, dict[str, Any], str]] = [
    # types
    (REGISTER, {"agent_id": 1}, "/agent_id"),
    (REGISTER, {**REGISTRATION, "name": ["x"]}, "/name"),
    (REGISTER, {**REGISTRATION, "session_id": 1}, "/session_id"),
    (REGISTER, {**REGISTRATION, "capabilities": "detection"}, "/capabilities"),
    (REGISTER, {**REGISTRATION, "capabilities": ["a", 1]}, "/capabilities/1"),
    (REGISTER, {**REGISTRATION, "metadata": []}, "/metadata"),
    (REGISTER, {**REGISTRATION, "metadata": None}, "/metadata"),
    (HEARTBEAT, {"status": 1}, "/status"),
    (MESSAGES, {**DRAFT, "from": None}, "/from"),
    (MESSAGES, {**DRAFT, "to": ["known"]}, "/to"),
    (MESSAGES, {**DRAFT, "text": 1}, "/text"),
    (MESSAGES, {**DRAFT, "payload": "x"}, "/payload"),
    (MESSAGES, {**DRAFT, "type": True}, "/type"),
    (MESSAGES, {**DRAFT, "ttl": "60"}, "/ttl"),
    (MESSAGES, {**DRAFT, "ttl": True}, "/ttl"),
    (MESSAGES, {**DRAFT, "wait": []}, "/wait"),
    (MESSAGES, {"from": "known", "to": "known", "message": 7}, "/message"),
    (MESSAGES, {"from": "known", "to": "known", "message": None}, "/message"),
    (RECEIVE, {**TAKING, "limit": 1.5}, "/limit"),
    (RECEIVE, {**TAKING, "ack": False}, "/ack"),
    (ACK, {**TAKING, "ids": "m_x"}, "/ids"),
    (ACK, {**TAKING, "ids": [None]}, "/ids/0"),
    # what is missing, and what is too much
    (REGISTER, {}, "/agent_id"),
    (MESSAGES, {"from": "known"}, "/to"),
    (MESSAGES, {"from": "known", "to": "known"}, "/message"),
    (MESSAGES, {**DRAFT, "message": "x"}, "/message"),
    (MESSAGES, {"from": "known", "to": "known", "message": "x", "payload": {}}, "/message"),
    (REGISTER, {**REGISTRATION, "status": "active"}, "/status"),
    (HEARTBEAT, {"a/b~c": 1}, "/a~1b~0c"),
    (MESSAGES, {**DRAFT, "": 1}, "/"),
    (MESSAGES, {**DRAFT, "a.b[0]`": 1}, "/a.b[0]`"),
    (RECEIVE, {**TAKING, "since": "x"}, "/since"),
    (ACK, {**TAKING, "id": "x"}, "/id"),
    # words
    (HEARTBEAT, {"status": "offline"}, "/status"),
    (HEARTBEAT, {"status": "sleepy"}, "/status"),
    (RECEIVE, {**TAKING, "ack": "later"}, "/ack"),
    (MESSAGES, {**DRAFT, "type": "User Story"}, "/type"),
    (MESSAGES, {**DRAFT, "type": ""}, "/type"),
    (MESSAGES, {"from": "known", "to": "known", "message": "x", "type": ""}, "/type"),
    (MESSAGES, {"from": "known", "to": "known", "message": {"type": "a"}, "type": ""}, "/type"),
    (MESSAGES, {**DRAFT, "type": "hub.notice"}, "/type"),
    (MESSAGES, {**DRAFT, "type": "agent.joined"}, "/type"),
    (MESSAGES, {**DRAFT, "type": "a" * 65}, "/type"),
    (MESSAGES, {**DRAFT, "reply_to": "m_short"}, "/reply_to"),
    # numbers
    (MESSAGES, {**DRAFT, "ttl": 0}, "/ttl"),
    (MESSAGES, {**DRAFT, "ttl": -1}, "/ttl"),
    (MESSAGES, {**DRAFT, "ttl": 604_801}, "/ttl"),
    (MESSAGES, {**DRAFT, "ttl": 10**400}, "/ttl"),
    (MESSAGES, {**DRAFT, "to": "other", "wait": -1}, "/wait"),
    (MESSAGES, {**DRAFT, "to": "other", "wait": 301}, "/wait"),
    (MESSAGES, {**DRAFT, "to": "ALL", "wait": 1}, "/wait"),
    (RECEIVE, {**TAKING, "limit": 0}, "/limit"),
    (RECEIVE, {**TAKING, "limit": 201}, "/limit"),
    (RECEIVE, {**TAKING, "limit": 2**64}, "/limit"),
    (RECEIVE, {**TAKING, "wait": 51}, "/wait"),
    (RECEIVE, {**TAKING, "ack": "manual", "lease": 0.5}, "/lease"),
    (RECEIVE, {**TAKING, "ack": "manual", "lease": 3_601}, "/lease"),
    (RECEIVE, {**TAKING, "ack": "auto", "lease": 3_601}, "/lease"),
    (ACK, {**TAKING, "ids": ["x"] * (MAX_SETTLED_IDS + 1)}, "/ids"),
    (ACK, {**TAKING, "release": ["x"]}, "/lease_id"),
    # labels
    (REGISTER, {**REGISTRATION, "name": ""}, "/name"),
    (REGISTER, {**REGISTRATION, "name": "x" * (MAX_NAME_CHARACTERS + 1)}, "/name"),
    (REGISTER, {**REGISTRATION, "session_id": "a\u0000"}, "/session_id"),
    (REGISTER, {**REGISTRATION, "capabilities": ["a", ""]}, "/capabilities/1"),
    (
        REGISTER,
        {**REGISTRATION, "capabilities": ["x" * (MAX_CAPABILITY_CHARACTERS + 1)]},
        "/capabilities/0",
    ),
    (REGISTER, {**REGISTRATION, "capabilities": ["a"] * (MAX_CAPABILITIES + 1)}, "/capabilities"),
    (REGISTER, {**REGISTRATION, "metadata": {"a": "x" * MAX_METADATA_BYTES}}, "/metadata"),
]


@pytest.mark.parametrize(("path", "body", "pointer"), FAULTS)
async def test_a_fault_is_named_by_its_field(
    rest: Caller, path: str, body: dict[str, Any], pointer: str
) -> None:
    assert await rest.refused(path, json.dumps(body).encode(), status=422) == ("invalid", [pointer])


@pytest.mark.parametrize(
    "hidden",
    [
        "\u200b",
        "\u202e",
        "\u2066",
        "\ufeff",
        "\u00ad",
        "\u0007",
        "\u009b",
        "\n",
        "\u2028",
        "\U000e0041",
    ],
)
async def test_an_invisible_character_in_a_name_is_refused(rest: Caller, hidden: str) -> None:
    body = json.dumps({"agent_id": "new", "name": f"Al{hidden}ice"}).encode()
    told = await rest.call("POST", REGISTER, body, status=422)
    assert told["errors"] == [{"pointer": "/name", "detail": LABEL}]


async def test_all_faults_of_a_registration_are_named_at_once(rest: Caller) -> None:
    body = {"agent_id": "new", "name": "", "capabilities": ["", "ok", "\n"]}
    told = await rest.post(REGISTER, body, status=422)
    named = [fault["pointer"] for fault in told["errors"]]
    assert named == ["/name", "/capabilities/0", "/capabilities/2"]


@pytest.mark.parametrize(
    "agent_id",
    ["", "a" * 65, "-a", ".", "..", "a b", "a/b", "ä", "a\n", "ALL", "hub", "а", "a\u0000"],
)
async def test_what_cannot_name_an_agent_is_refused_wherever_it_stands(
    rest: Caller, agent_id: str
) -> None:
    for path, body, pointer in (
        (REGISTER, {"agent_id": agent_id}, "/agent_id"),
        (MESSAGES, {**DRAFT, "from": agent_id}, "/from"),
        (RECEIVE, {"agent_id": agent_id}, "/agent_id"),
        (ACK, {"agent_id": agent_id}, "/agent_id"),
    ):
        given = json.dumps(body).encode()
        assert await rest.refused(path, given, status=422) == ("invalid", [pointer])
    told = await rest.get(MESSAGES, status=422, agent_id=agent_id)
    assert told["errors"][0]["pointer"] == "?agent_id"
    if agent_id != "ALL":
        given = json.dumps({**DRAFT, "to": agent_id}).encode()
        assert await rest.refused(MESSAGES, given, status=422) == ("invalid", ["/to"])


async def test_an_agent_cannot_wait_for_itself(rest: Caller) -> None:
    body = json.dumps({**DRAFT, "wait": 1}).encode()
    assert (await rest.refused(MESSAGES, body, status=422))[0] == "wait_for_self"


@pytest.mark.parametrize("key", ["x" * 256, "a\u0080b", "a\u200bb"])
async def test_a_key_must_be_printable_and_short(rest: Caller, key: str) -> None:
    body = json.dumps(DRAFT).encode()
    told = await rest.refused(MESSAGES, body, status=422, headers={"Idempotency-Key": key})
    assert told == ("invalid", ["/idempotency_key"])


# --- queries ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("", "?agent_id"),
        ("?agent_id=known&agent_id=known", "?agent_id"),
        ("?agent_id=known&limit=5&limit=6", "?limit"),
        ("?agent_id=known&limit=0", "?limit"),
        ("?agent_id=known&limit=1001", "?limit"),
        ("?agent_id=known&limit=many", "?limit"),
        ("?agent_id=known&limit=", "?limit"),
        ("?agent_id=known&limit=1.5", "?limit"),
        ("?agent_id=known&limit=%D9%A1", "?limit"),
        ("?agent_id=known&wait=-1", "?wait"),
        ("?agent_id=known&wait=51", "?wait"),
        ("?agent_id=known&wait=nan", "?wait"),
        ("?agent_id=known&wait=inf", "?wait"),
        ("?agent_id=known&wait=1e999", "?wait"),
        ("?agent_id=known&since=", "?since"),
        ("?agent_id=known&since=yesterday", "?since"),
        ("?agent_id=known&since=0123:" + "9" * 19, "?since"),
        ("?agent_id=known&since=0123:%D9%A1", "?since"),
        ("?agent_id=known&colour=red", "?colour"),
        ("?agent_id=%FF", "?agent_id"),
    ],
)
async def test_a_faulty_query_is_named_by_its_parameter(
    rest: Caller, query: str, pointer: str
) -> None:
    told = await rest.call("GET", MESSAGES + query, status=422)
    assert told["code"] == "invalid"
    assert [fault["pointer"] for fault in told["errors"]] == [pointer]


async def test_other_queries_name_their_parameter_too(rest: Caller) -> None:
    for path, pointer in (
        (f"{AGENTS}?status=sleepy", "?status"),
        (f"{AGENTS}?status=busy&status=idle", "?status"),
        (f"{AGENTS}?name=x", "?name"),
        (f"{MESSAGES}/m_x", "?agent_id"),
        (f"{MESSAGES}/m_x?agent_id=-", "?agent_id"),
        ("/ws/known?ack=maybe", "?ack"),
        ("/ws/known?max_in_flight=x", "?max_in_flight"),
        ("/ws/known?since=x&since=y", "?since"),
    ):
        told = await rest.call("GET", path, status=422)
        assert [fault["pointer"] for fault in told["errors"]] == [pointer]


# --- sizes and slowness -------------------------------------------------------------------


async def test_content_up_to_the_limit_is_taken_and_one_byte_more_is_not(rest: Caller) -> None:
    text = "é" * ((MAX_CONTENT_BYTES - len(b'{"a":1}')) // 2)
    over = {"from": "known", "to": "new", "text": text + "xx", "payload": {"a": 1}}
    body = json.dumps(over, ensure_ascii=False).encode()
    assert (await rest.refused(MESSAGES, body, status=413))[0] == "content_too_large"


async def test_a_body_over_the_limit_is_refused_before_it_is_read(served: RunningHub) -> None:
    async with connected(served) as connection:
        length = {"Content-Length": str(MAX_BODY_BYTES + 1)}
        await connection.request("POST", MESSAGES, b"{", length)
        answer = await connection.answer()
    assert (answer.status, answer.json()["code"]) == (413, "body_too_large")


async def test_a_body_of_the_largest_size_is_read(served: RunningHub) -> None:
    answer = await call(served, "POST", MESSAGES, b'{"from": 1}'.ljust(MAX_BODY_BYTES))
    assert (answer.status, answer.json()["code"]) == (422, "invalid")


async def test_a_chunked_body_is_read_and_measured_as_it_comes(served: RunningHub) -> None:
    chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    async with connected(served) as connection:
        await connection.request("POST", MESSAGES, headers={**chunked, "Content-Length": ""})
        await connection.write(b'8\r\n{"from":\r\n2\r\n1}\r\n0\r\n\r\n')
        answer = await connection.answer()
        assert answer.status == 422
        assert answer.json()["errors"][0]["pointer"] == "/from"
        # Without an end, and never the whole of it in memory.
        await connection.request("POST", MESSAGES, headers={**chunked, "Content-Length": ""})
        for _ in range(17):
            await connection.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        answer = await connection.answer()
        assert (answer.status, answer.json()["code"]) == (413, "body_too_large")


async def test_a_compressed_body_is_refused(served: RunningHub) -> None:
    body = gzip.compress(json.dumps(DRAFT).encode())
    answer = await call(served, "POST", MESSAGES, body, {"Content-Encoding": "gzip"})
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", POSTS)
async def test_a_body_that_never_ends_is_given_up(
    served: RunningHub, clock: ManualClock, path: str
) -> None:
    async with connected(served) as connection:
        before = clock.pending
        await connection.request("POST", path, b"{", {"Content-Length": "100"})
        await until(lambda: clock.pending > before)
        await clock.advance(BODY_SECONDS)
        answer = await connection.answer()
    assert (answer.status, answer.json()["code"]) == (408, "slow_body")


async def test_a_client_that_goes_away_in_the_middle_of_a_body_changed_nothing(
    served: RunningHub, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(served) as connection:
        before = clock.pending
        body = json.dumps({**DRAFT, "to": "new"}).encode()
        await connection.request("POST", MESSAGES, body[:-1], {"Content-Length": str(len(body))})
        await until(lambda: clock.pending > before)
        connection.cut()
        await until(lambda: clock.pending == before)
    assert not caplog.records


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"2\r\n{}XX"])
async def test_a_body_that_breaks_off_in_a_faulty_chunk_is_given_up_like_a_slow_one(
    served: RunningHub, clock: ManualClock, caplog: pytest.LogCaptureFixture, chunk: bytes
) -> None:
    chunked = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    async with connected(served) as connection:
        before = clock.pending
        await connection.request("POST", MESSAGES, headers={**chunked, "Content-Length": ""})
        await until(lambda: clock.pending > before)
        await connection.write(chunk)
        await settle()
        await clock.advance(BODY_SECONDS)
        answer = await connection.answer()
    assert (answer.status, answer.json()["code"]) == (408, "slow_body")
    assert not caplog.records


async def test_what_was_refused_is_not_remembered(rest: Caller) -> None:
    async def send(count: int) -> None:
        for n in range(count):
            long = f"{n}" + "x" * 500_000
            for body in ({**DRAFT, "from": long}, {**DRAFT, "type": long}):
                await rest.call("POST", MESSAGES, json.dumps(body).encode(), status=422)

    await send(2)
    tracemalloc.start()
    try:
        await send(10)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 3_000_000

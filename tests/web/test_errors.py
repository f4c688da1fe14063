"""Every refusal is a problem with a code from the closed list."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from agent_hub.core import errors
from agent_hub.core.errors import HubError
from agent_hub.wire.problems import STATUS
from tests.codes import CODES
from tests.server import RunningHub
from tests.web.caller import ACK, AGENTS, MESSAGES, PROBLEM_KEYS, RECEIVE, Caller
from tests.web.raw import call, connected


def kinds(of: type[HubError] = HubError) -> set[type[HubError]]:
    """Every class of refusal below this one."""
    return {kind for child in of.__subclasses__() for kind in {child} | kinds(child)}


def test_the_list_of_codes_is_closed() -> None:
    assert set(STATUS) == CODES


def test_each_refusal_has_a_code_of_its_own_and_each_code_a_refusal() -> None:
    codes = [kind.code for kind in kinds()]
    assert len(codes) == len(set(codes))
    assert set(codes) == CODES


def test_each_refusal_says_whether_to_try_again() -> None:
    again = {kind.code for kind in kinds() if kind.retryable}
    assert again == {code for code, status in STATUS.items() if status in (408, 429, 503)}
    assert all(kind.title and kind.title != HubError.title for kind in kinds() - {errors.Internal})


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
async def test_a_path_that_is_not_there_is_a_problem(rest: Caller, method: str) -> None:
    assert (await rest.call(method, "/api/v1/nothing", status=404))["code"] == "not_found"


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
async def test_a_method_that_is_not_there_is_a_problem_that_names_the_others(
    rest: Caller, method: str
) -> None:
    told = await rest.call(method, MESSAGES, status=405)
    assert told["code"] == "method_not_allowed"
    assert rest.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("path", [ACK, RECEIVE])
async def test_a_word_that_is_a_call_is_no_message_id(rest: Caller, path: str) -> None:
    told = await rest.call("GET", f"{path}?agent_id=beta", status=405)
    assert told["code"] == "method_not_allowed"
    assert rest.headers["Allow"] == "POST"


async def test_a_problem_has_the_members_of_its_standard(rest: Caller) -> None:
    told = await rest.post(MESSAGES, {"from": "beta"}, status=422)
    assert set(told) == PROBLEM_KEYS | {"errors"}
    assert told["type"] == "urn:agent-hub:problem:invalid"
    assert told["title"] == "The request is not valid"
    assert told["retryable"] is False
    assert told["errors"] == [{"pointer": "/to", "detail": "object missing required field `to`"}]


async def test_a_bug_is_opaque_and_logged_under_the_request_id(
    rest: Caller,
    served: RunningHub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("/secret/path and a body")

    monkeypatch.setattr(served.hub, "census", fail)
    monkeypatch.setattr(served.hub, "agents", fail)
    with caplog.at_level(logging.ERROR):
        told = await rest.call("GET", AGENTS, status=500, headers={"X-Request-Id": "find.me"})
    assert told == {
        "type": "urn:agent-hub:problem:internal",
        "title": "The hub failed",
        "status": 500,
        "detail": "the hub failed; its log knows more",
        "code": "internal",
        "retryable": False,
        "request_id": "find.me",
    }
    [record] = caplog.records
    assert record.__dict__["request_id"] == "find.me"
    assert record.exc_info is not None


# --- request ids --------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 128])
async def test_a_request_id_comes_back(rest: Caller, given: str) -> None:
    for path, status in (("/health", 200), ("/nothing", 404)):
        await rest.call("GET", path, status=status, headers={"X-Request-Id": given})
        assert rest.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["a b", "é", "x" * 129, "a;b", '"', "<script>"])
async def test_a_request_id_that_could_forge_a_log_line_is_replaced(
    rest: Caller, given: str
) -> None:
    await rest.call("GET", "/health", headers={"X-Request-Id": given})
    assert rest.headers["X-Request-Id"] != given


async def test_each_request_has_an_id_of_its_own(rest: Caller) -> None:
    ids = set()
    for _ in range(3):
        await rest.get("/health")
        ids.add(rest.headers["X-Request-Id"])
    assert len(ids) == 3


# --- what is no request -------------------------------------------------------------------

LONG = b"x" * 20_000
BODY_OF_TWO = {"Content-Length": "2", "Content-Type": "application/json"}


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HELLO\r\n\r\n",
        b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /" + LONG + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + LONG + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_not_http_gets_a_problem_too_and_is_not_quoted(
    served: RunningHub, sent: bytes
) -> None:
    async with connected(served) as connection:
        await connection.write(sent)
        answer = await connection.answer()
        assert await connection.reader.read() == b""
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    told = answer.json()
    assert (told["code"], told["status"]) == ("invalid", 400)
    assert told["request_id"] == answer.headers["x-request-id"]
    assert b"xxx" not in answer.body


async def test_a_path_that_is_not_text_is_just_not_found(served: RunningHub) -> None:
    for path in ("/%FF", "/%00", "//", "/..", "/api/v1/agents/%FF", "/api/v1/agents/%2e%2e"):
        assert (await call(served, "GET", path)).status == 404


@pytest.mark.parametrize("path", [MESSAGES, f"{AGENTS}/beta/heartbeat"])
async def test_a_client_that_asks_first_is_told_to_go_on(served: RunningHub, path: str) -> None:
    async with connected(served) as connection:
        await connection.request("POST", path, headers={"Expect": "100-continue", **BODY_OF_TWO})
        assert (await connection.answer()).status == 100
        await connection.write(b"{}")
        assert (await connection.answer()).status in (404, 422)


async def test_another_expectation_is_refused(served: RunningHub) -> None:
    for path in (AGENTS, "/nothing"):
        answer = await call(served, "GET", path, headers={"Expect": "miracles"})
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "invalid"

"""Whatever is posted, the answer is one that is documented: never a failure, never a hang."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_hub.wire.problems import STATUS
from tests.clock import ManualClock
from tests.patience import PATIENCE
from tests.server import RunningHub, running_hub
from tests.web.caller import ACK, AGENTS, INBOXES, MESSAGES, PROBLEM_KEYS, RECEIVE, REGISTER

LEAKS = ("Traceback", ".py", "agent_hub", "sys.", "/usr/", "/home/", "object at 0x")

EXAMPLES = pytest.mark.parametrize(
    "examples",
    [
        150,
        pytest.param(1_000, marks=pytest.mark.slow),
        pytest.param(10_000, marks=pytest.mark.soak),
    ],
)

MESSAGE_ID = "m_0123456789abcdefghijkl"
VALID: dict[str, dict[str, Any]] = {
    REGISTER: {
        "agent_id": "beta",
        "session_id": "s",
        "name": "Beta",
        "capabilities": ["a", "b"],
        "metadata": {"a": [1, {"b": None}]},
    },
    f"{AGENTS}/beta/heartbeat": {"status": "busy"},
    MESSAGES: {
        "from": "beta",
        "to": "alpha",
        "text": "x",
        "payload": {"a": 1},
        "type": "request",
        "reply_to": MESSAGE_ID,
        "ttl": 60,
        "wait": 2,
    },
    RECEIVE: {"agent_id": "alpha", "limit": 2, "wait": 1, "ack": "manual", "lease": 5},
    ACK: {
        "agent_id": "alpha",
        "ids": [MESSAGE_ID],
        "release": [MESSAGE_ID],
        "extend": [MESSAGE_ID],
        "lease_id": "l",
        "lease": 5,
    },
}

# Beside any text the words that mean something, and characters that have done harm elsewhere.
WORDS = ("ALL", "hub", "alpha", "beta", "auto", "manual", "offline", "hub.x", MESSAGE_ID, "null")
TRAPS = ("", "\0", "\u202e", "\ufeff", "\ud800", "\U0001f600", "a" * 65, "1e999", "../x", "'\"`")
words = st.sampled_from([*WORDS, *TRAPS])
texts = st.text(max_size=20) | words
numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, 0.001, 1e-400])
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, path: str) -> bytes:
    """A valid body with some fields replaced, gone, or added; sometimes with a byte changed."""
    body = dict(VALID[path])
    for name in draw(st.lists(st.sampled_from(sorted(body)), max_size=3, unique=True)):
        if draw(st.booleans()):
            body[name] = draw(values)
        else:
            del body[name]
    if draw(st.integers(0, 4)) == 0:
        body[draw(st.sampled_from(["message", "text", "since", "x"]) | texts)] = draw(values)
    encoded = json.dumps(body).encode()
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(encoded)))
        encoded = encoded[:at] + draw(st.binary(max_size=3)) + encoded[at + 1 :]
    return encoded


bodies = values.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)
posts = st.sampled_from(sorted(VALID)).flatmap(
    lambda path: st.tuples(st.just(path), bodies | mutated(path) | mutated(path))
)
queries = st.tuples(
    st.sampled_from([AGENTS, INBOXES, MESSAGES, f"{MESSAGES}/{MESSAGE_ID}", "/readyz", "/health"]),
    st.lists(
        st.tuples(
            st.sampled_from(["agent_id", "limit", "since", "wait", "status", "capability", "sort"])
            | texts,
            texts | numbers.map(str),
        ),
        max_size=5,
    ),
)


class Probe:
    """A hub in a loop of its own, in whose time no wait is long."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.stack = AsyncExitStack()
        self.served: RunningHub
        self.documented: dict[str, Any]

    def open(self) -> None:
        hub = running_hub(clock=self.clock)
        self.served = self.runner.run(self.stack.enter_async_context(hub))
        _, _, text = self.runner.run(self.answer("GET", "/api/v1/openapi.json"))
        self.documented = json.loads(text)["paths"]

    def close(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()

    async def answer(self, method: str, path: str, **request: Any) -> tuple[int, str, str]:
        """Status, content type and body; time passes while the hub waits for something."""
        call = asyncio.ensure_future(self._call(method, path, **request))
        async with asyncio.timeout(PATIENCE):
            while not call.done():
                await self.clock.advance(0.1)
        return call.result()

    async def _call(self, method: str, path: str, **request: Any) -> tuple[int, str, str]:
        async with self.served.session.request(method, path, **request) as answer:
            return answer.status, answer.content_type, (await answer.read()).decode()

    def check(self, method: str, path: str, template: str, **request: Any) -> None:
        """The answer's status is documented for this call, and a refusal is a problem."""
        status, kind, text = self.runner.run(self.answer(method, path, **request))
        assert str(status) in self.documented[template][method.lower()]["responses"], text
        assert status != 500
        if status < 400 or status == 503:
            assert kind == "application/json"
            return
        assert kind == "application/problem+json"
        told = json.loads(text)
        assert set(told) >= PROBLEM_KEYS
        assert STATUS[told["code"]] == told["status"] == status
        # A field's name is repeated, and Hypothesis likes words of our own sources.
        assert not [leak for leak in LEAKS if leak in text and leak not in str(request)]


@pytest.fixture
def probe() -> Iterator[Probe]:
    probe = Probe()
    probe.open()
    yield probe
    probe.close()


def many(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@EXAMPLES
def test_no_body_makes_a_post_fail(probe: Probe, examples: int) -> None:
    @many(examples)
    @given(posts)
    def holds(post: tuple[str, bytes]) -> None:
        path, body = post
        template = path.replace("/beta/", "/{agent_id}/")
        headers = {"Content-Type": "application/json"}
        probe.check("POST", path, template, data=body, headers=headers)

    holds()


@EXAMPLES
def test_no_query_makes_a_get_fail(probe: Probe, examples: int) -> None:
    @many(examples)
    @given(queries)
    def holds(query: tuple[str, list[tuple[str, str]]]) -> None:
        path, params = query
        template = path.replace(MESSAGE_ID, "{message_id}")
        encodable = [(n, v) for n, v in params if n.isprintable() and v.isprintable()]
        probe.check("GET", path, template, params=encodable)

    holds()

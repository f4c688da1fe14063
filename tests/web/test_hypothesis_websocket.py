"""Whatever a client writes, the hub answers it or closes with a code of the contract."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from aiohttp import WSMsgType
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.patience import PATIENCE
from tests.server import RunningHub, running_hub
from tests.web.line import upgraded
from tests.web.peer import BARRIER, Peer, connected

QUICK = 75
FRAMES = 10
"""The least frames of a thorough example: ten thousand in all."""

ANSWERS = ("hub.error", "hub.accepted")
CONTROL = ("heartbeat", "hub.ack", "hub.release")
CODES = {1002, 1003, 1007, 1009, 4013, 4509}
KEYS = ["type", "to", "from", "text", "message", "payload", "ref", "ids", "status", "wait", "ttl"]
KEYS += ["reply_to", "idempotency_key", "traceparent", "id", "timestamp"]
VALID: list[dict[str, Any]] = [
    {"type": "heartbeat"},
    {"type": "heartbeat", "status": "busy"},
    {"type": "hub.ack", "ids": ["m_0123456789012345678901"]},
    {"type": "hub.release", "ids": []},
    {"type": "message", "to": "beta", "text": "hello", "ref": 1},
    {"type": "request", "to": "beta", "message": {"type": "x", "a": [1, 2, {"b": None}]}},
    {"to": "ALL", "text": "everybody", "ttl": 5},
    {"to": "beta", "text": "ready?", "wait": 0, "idempotency_key": "k"},
]

text = st.text(st.characters(exclude_categories=()), max_size=40)  # surrogates too
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4)
)
words = st.sampled_from(["beta", "ALL", "hub", "alpha", "hub.ack", "agent.joined", "", "ping"])
objects = st.dictionaries(st.sampled_from(KEYS) | text, words | values, max_size=8)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """A valid frame of which one key is gone, new, or something else."""
    frame = dict(draw(st.sampled_from(VALID)))
    key = draw(st.sampled_from(KEYS) | text)
    if draw(st.booleans()):
        frame.pop(key, None)
    else:
        frame[key] = draw(words | values)
    return frame


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The text of a valid frame, cut, doubled or with something put in."""
    frame = json.dumps(draw(st.sampled_from(VALID)))
    place = draw(st.integers(0, len(frame)))
    junk = draw(st.sampled_from(["", "NaN", "\x00", "[" * 50, '"', "}", "\\ud800", "1e999"]) | text)
    return frame[:place] + junk + draw(st.sampled_from([frame[place:], frame, ""]))


def sendable(frame: str) -> bytes | str:
    """A lone surrogate goes out as the bytes that an encoder without manners writes."""
    try:
        frame.encode()
    except UnicodeEncodeError:
        return frame.encode(errors="surrogatepass")
    return frame


def is_control(frame: str) -> bool:
    """Whether this may go without an answer."""
    try:
        value = json.loads(frame)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("type") in CONTROL


one_frame = (mutated() | objects | values).map(json.dumps) | damaged() | text


async def write_all(hub: RunningHub, texts: list[str], ack: str) -> None:
    """Write the frames, and check that each is answered; after them the hub still answers."""
    async with connected(hub, "alpha", ack=ack) as alpha:
        for one in texts:
            out = sendable(one)
            if isinstance(out, str):
                await alpha.socket.send_str(out)
            else:
                await alpha.socket.send_frame(out, WSMsgType.TEXT)
                break  # what came after it could make TCP throw away the close frame on its way
        answered, code = await read_answers(alpha)
    if code is None:
        assert answered >= sum(not is_control(one) for one in texts)
    else:
        assert code in CODES
    async with hub.session.get("/livez") as response:
        assert response.status == 200


async def read_answers(peer: Peer) -> tuple[int, int | None]:
    """How many answers come before a barrier, and the close code if the hub closed."""
    answered = 0
    with contextlib.suppress(ConnectionError):
        await peer.socket.ping(BARRIER)
    while True:
        async with asyncio.timeout(PATIENCE):
            received = await peer.socket.receive()
        if received.type is WSMsgType.PONG and received.data == BARRIER:
            return answered, None
        if received.type is WSMsgType.CLOSE:
            return answered, int(received.data)
        if received.type is WSMsgType.TEXT:
            answered += is_answer(json.loads(received.data))
        else:
            assert received.type in (WSMsgType.PING, WSMsgType.PONG), received


def is_answer(frame: dict[str, Any]) -> bool:
    """Whether this answers a frame. Nothing may tell of the hub's inside, or be a bug of it."""
    problem = frame.get("problem")
    if problem is not None:
        assert problem["code"] != "internal", frame
        assert 400 <= problem["status"] < 500
        assert "Traceback" not in problem["detail"]
        assert ".py" not in problem["detail"]
    return frame["type"] in ANSWERS


def run(texts: list[str], ack: str) -> None:
    async def one_hub() -> None:
        async with running_hub() as hub:
            await write_all(hub, texts, ack)

    asyncio.run(one_hub())


def thoroughness(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


@thoroughness(QUICK)
@given(st.lists(one_frame, min_size=1, max_size=20), st.sampled_from(["auto", "manual"]))
def test_any_frame_is_answered_or_ends_the_socket_with_a_known_code(
    texts: list[str], ack: str
) -> None:
    run(texts, ack)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(1_000, marks=pytest.mark.slow),
        pytest.param(10_000, marks=pytest.mark.soak),
    ],
)
def test_thousands_of_frames_are_answered_or_end_the_socket_with_a_known_code(frames: int) -> None:
    @thoroughness(frames // FRAMES)
    @given(st.lists(one_frame, min_size=FRAMES, max_size=25), st.sampled_from(["auto", "manual"]))
    def holds(texts: list[str], ack: str) -> None:
        run(texts, ack)

    holds()


@thoroughness(QUICK)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_on_an_upgraded_line_end_it_at_worst(chunks: list[bytes]) -> None:
    async def one_hub() -> None:
        async with running_hub() as hub:
            async with upgraded(hub, "alpha") as line:
                with contextlib.suppress(ConnectionError):
                    for chunk in chunks:
                        line.send(chunk)
            async with hub.session.get("/livez") as response:
                assert response.status == 200

    asyncio.run(one_hub())

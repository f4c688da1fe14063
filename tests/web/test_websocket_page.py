"""docs/websocket.md shows what comes over the wire: each example has the shape of a real frame."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.clock import ManualClock
from tests.server import RunningHub
from tests.test_docs import FROM_CLIENTS, examples
from tests.web.peer import Frame, Peer, connected, post

ALPHA, BETA = "alpha-01RXGe86", "beta-01TYEi4M"

KINDS = {
    "message id": re.compile(r"m_[A-Za-z0-9_-]{22}"),
    "time": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "epoch": re.compile(r"[0-9a-f]{16}"),
    "cursor": re.compile(r"[0-9a-f]{16}:\d+"),
}
NAMED = {"type", "from", "durability", "status", "code"}
"""Words from a closed list: they must be the very same, or one that the list has."""
DURABILITIES = {"process", "disk", "redis-aof", "redis-rdb", "redis-none"}

EXAMPLES = examples("websocket.md")
FROM_HUB = [one for one in EXAMPLES if one.values[0] not in FROM_CLIENTS]
FROM_CLIENT = [one for one in EXAMPLES if one.values[0] in FROM_CLIENTS]


def shape(thing: Any, name: str = "") -> Any:
    """Names and kinds of everything inside, without the values that differ from time to time."""
    if isinstance(thing, dict):
        return {key: shape(value, key) for key, value in thing.items()}
    if isinstance(thing, list):
        return [shape(thing[0])] if thing else []
    if isinstance(thing, str):
        if name == "durability":
            return thing in DURABILITIES
        kinds = [kind for kind, pattern in KINDS.items() if pattern.fullmatch(thing)]
        return thing if name in NAMED else (kinds or ["text"])[0]
    return type(thing).__name__


async def one_of_each(hub: RunningHub, clock: ManualClock) -> list[Frame]:
    """A conversation in which the hub says all that it can say on a socket."""
    frames: list[Frame] = []
    await post(hub, ALPHA, "before", sender=BETA)
    async with connected(hub, ALPHA, events="all") as alpha, connected(hub, BETA) as beta:
        frames += [alpha.welcome, await alpha.next()]
        frames.append(await beta.send(ALPHA, "Hi", ref=7))
        frames.append(await alpha.next())
        frames.append(await beta.send("ALL", "all of you"))
        await alpha.next()
        frames.append(await beta.ask({"type": "message", "text": "no to", "ref": {"n": 1}}))
        frames += await a_question(alpha, beta)
        frames += await an_expiry(hub, clock, beta)
        frames += await a_newcomer(hub, clock, alpha)
        await hub.hub.drain()
        frames.append(await beta.next())
    return frames


async def a_question(alpha: Peer, beta: Peer) -> list[Frame]:
    asked = await beta.send(ALPHA, "Question", ref="q1", wait=5)
    answer = {"to": BETA, "text": "Answer", "type": "response", "reply_to": asked["message_id"]}
    await alpha.next()
    await alpha.ask(answer)
    return [await beta.next()]


async def an_expiry(hub: RunningHub, clock: ManualClock, beta: Peer) -> list[Frame]:
    await post(hub, "away", "nobody reads this", sender=BETA, ttl=1)
    await clock.advance(5)
    return [await beta.next()]


async def a_newcomer(hub: RunningHub, clock: ManualClock, alpha: Peer) -> list[Frame]:
    await alpha.sync()
    body = {"agent_id": "gamma", "name": "Gamma"}
    async with hub.session.post("/api/v1/agents/register", json=body) as answer:
        assert answer.status == 201
    await clock.advance(0.25)
    return await alpha.sync()


@pytest.mark.parametrize(("name", "body"), FROM_HUB)
async def test_an_example_of_the_hub_has_the_shape_of_a_real_frame(
    served: RunningHub, clock: ManualClock, name: str, body: str
) -> None:
    example = json.loads(body)
    alike = [one for one in await one_of_each(served, clock) if one["type"] == example["type"]]
    assert shape(example) in [shape(frame) for frame in alike]


@pytest.mark.parametrize(("name", "body"), FROM_CLIENT)
async def test_an_example_of_a_client_is_understood(
    served: RunningHub, name: str, body: str
) -> None:
    mode = "manual" if json.loads(body)["type"] in ("hub.ack", "hub.release") else "auto"
    async with connected(served, BETA, ack=mode) as beta:
        await beta.say(body)
        told = await beta.sync()
    assert "hub.error" not in [frame["type"] for frame in told]
    if "to" in json.loads(body):
        assert [frame["type"] for frame in told] == ["hub.accepted"]
        assert told[0]["ref"] == json.loads(body)["ref"]


def test_the_page_shows_every_kind_of_frame_that_the_hub_sends() -> None:
    shown = {json.loads(str(one.values[1]))["type"] for one in FROM_HUB}
    assert shown == {
        *("hub.welcome", "hub.accepted", "hub.error", "hub.reply", "hub.notice"),
        *("hub.undelivered", "agent.joined", "message"),
    }

"""Two hubs on one Redis are one hub: whoever is at the one reaches whoever is at the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.mcp.door import ide
from tests.redis_server import RedisServer
from tests.server import RunningHub, running_hub
from tests.web.peer import connected

Nodes = tuple[RunningHub, RunningHub]

AT_ONCE_SECONDS = 3.5
"""Whom no hint reaches looks by itself, after 4 s at the earliest."""


@pytest.fixture
async def nodes(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Nodes]:
    redis_server.flush()
    monkeypatch.setenv("AGENT_HUB_BACKEND", redis_server.url)
    async with AsyncExitStack() as running:
        a = await running.enter_async_context(running_hub())
        b = await running.enter_async_context(running_hub())
        yield a, b


async def send(
    node: RunningHub, draft: dict[str, Any], key: str | None = None
) -> tuple[dict[str, Any], bool]:
    """The answer to a send, and whether it was given before."""
    headers = {} if key is None else {"Idempotency-Key": key}
    async with node.session.post("/api/v1/messages", json=draft, headers=headers) as response:
        answer = await response.json()
        assert response.status == 202, answer
        return answer, "Idempotency-Replayed" in response.headers


async def polled(node: RunningHub) -> float:
    """How often a reader found by looking what no hint had told it."""
    async with node.session.get("/metrics") as response:
        families = text_string_to_metric_families(await response.text())
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "agenthub_wakeups_total" and sample.labels["source"] == "poll"
    )


async def test_a_reader_at_one_node_gets_at_once_what_is_sent_at_the_other(nodes: Nodes) -> None:
    a, b = nodes
    async with connected(b, "beta") as beta:
        for number in range(50):
            async with asyncio.timeout(AT_ONCE_SECONDS):
                await send(a, {"from": "alpha", "to": "beta", "text": f"{number}"})
                assert (await beta.next())["text"] == f"{number}"
    assert (await polled(a), await polled(b)) == (0, 0)


async def test_a_question_at_one_node_is_answered_at_the_other_by_mcp(nodes: Nodes) -> None:
    a, b = nodes

    async def answer_all() -> None:
        async with ide(b) as beta:
            for _ in range(20):
                [question] = await beta.read("beta", wait=30)
                await beta.send("beta", "alpha", f"re {question['text']}", reply_to=question["id"])

    answering = asyncio.ensure_future(answer_all())
    for number in range(20):
        question = {"from": "alpha", "to": "beta", "text": f"{number}", "wait": 30}
        async with asyncio.timeout(AT_ONCE_SECONDS):
            answer, _ = await send(a, question)
        assert (answer["status"], answer["reply"]["text"]) == ("replied", f"re {number}")
    await answering
    assert (await polled(a), await polled(b)) == (0, 0)


async def test_an_mcp_question_at_one_node_is_answered_on_a_socket_of_the_other(
    nodes: Nodes,
) -> None:
    a, b = nodes
    async with connected(b, "beta") as beta, ide(a) as alpha:
        async with asyncio.timeout(AT_ONCE_SECONDS):
            asked = asyncio.ensure_future(alpha.ask("alpha", "beta"))
            question = await beta.next()
            await beta.send("alpha", "ready", reply_to=question["id"])
            answer = await asked
    assert (answer["status"], answer["reply"]["text"]) == ("replied", "ready")


async def test_a_broadcast_at_one_node_reaches_the_sockets_of_both(nodes: Nodes) -> None:
    a, b = nodes
    async with connected(a, "alpha") as alpha, connected(b, "beta") as beta:
        answer, _ = await send(a, {"from": "gamma", "to": "ALL", "text": "hello"})
        assert answer["accepted_count"] == 2
        assert [(await one.next())["text"] for one in (alpha, beta)] == ["hello", "hello"]


async def test_a_second_socket_at_the_other_node_takes_over(nodes: Nodes) -> None:
    a, b = nodes
    async with connected(a, "beta") as older, connected(b, "beta") as newer:
        async with asyncio.timeout(AT_ONCE_SECONDS):
            assert await older.closed() == 4503
        await send(a, {"from": "alpha", "to": "beta", "text": "to the newer"})
        assert (await newer.next())["text"] == "to the newer"


@pytest.mark.parametrize(("scope", "accepted"), [("shared", 5), ("node", 10)])
async def test_a_shared_rate_limit_is_one_for_both_nodes(
    scope: str, accepted: int, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.flush()
    monkeypatch.setenv("AGENT_HUB_BACKEND", redis_server.url)
    limit: dict[str, Any] = {"rate_limit": 0.01, "rate_burst": 5, "rate_limit_scope": scope}
    statuses, left = [], ""
    async with running_hub(**limit) as a, running_hub(**limit) as b:
        for number in range(12):
            draft = {"from": "alpha", "to": "beta", "text": f"{number}"}
            node = (a, b)[number % 2]
            async with node.session.post("/api/v1/messages", json=draft) as response:
                statuses.append(response.status)
                left = response.headers["RateLimit"]
    assert statuses == [202] * accepted + [429] * (12 - accepted)
    assert left.startswith('"agent";r=0;')


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.soak)])
async def test_a_hundred_sends_with_one_key_at_two_nodes_are_one_message(
    times: int, nodes: Nodes
) -> None:
    ids = set()
    for number in range(times):
        draft = {"from": "alpha", "to": f"beta-{number % 4}", "text": f"{number}"}
        answers = await asyncio.gather(
            *(send(nodes[place % 2], draft, f"key {number}") for place in range(100))
        )
        [message_id] = {answer["message_id"] for answer, _ in answers}
        assert sorted(replayed for _, replayed in answers) == [False] + [True] * 99
        ids.add(message_id)
    assert len(ids) == times
    assert await waiting(nodes[0]) == ids


async def waiting(node: RunningHub) -> set[str]:
    """The ids of all that the four have not read yet."""
    ids = []
    for number in range(4):
        params: dict[str, str | int] = {"agent_id": f"beta-{number}", "limit": 200}
        async with node.session.get("/api/v1/messages", params=params) as response:
            ids += [message["id"] for message in (await response.json())["messages"]]
    assert len(ids) == len(set(ids))
    return set(ids)

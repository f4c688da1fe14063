"""SIGTERM with everything open: all is told, and the process is gone in a moment."""

from __future__ import annotations

import asyncio
import signal
from asyncio import Task
from time import monotonic
from typing import Any

import pytest

from tests.acceptance.process import HubProcess, hub_process
from tests.web.peer import connected, post, state


def call(hub: HubProcess, method: str, path: str, **more: Any) -> Task[tuple[int, Any]]:
    """A request under way."""

    async def answer() -> tuple[int, Any]:
        async with hub.session.request(method, f"/api/v1/{path}", **more) as response:
            return response.status, await response.json(content_type=None)

    return asyncio.ensure_future(answer())


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
async def test_a_hub_told_to_stop_ends_its_streams_and_waits_and_exits_0(
    how: signal.Signals,
) -> None:
    async with (
        hub_process() as hub,
        connected(hub, "alpha") as alpha,
        connected(hub, "beta", receipts=False) as beta,
        connected(hub, "gamma", ack="manual") as gamma,
    ):
        sent = await post(hub, "beta", "unread")
        await beta.texts(1)
        await alpha.ask({"to": "gamma", "text": "ready?", "wait": 300, "ref": "q"})
        await gamma.next()
        look = call(hub, "GET", "messages?agent_id=x&wait=50")
        take = call(hub, "POST", "messages/receive", json={"agent_id": "y", "wait": 50})
        question = {"from": "z", "to": "gamma", "text": "?", "wait": 300}
        ask = call(hub, "POST", "messages", json=question)
        await gamma.next()
        assert await state(hub, sent["message_id"], "beta") == "leased"
        started = monotonic()
        hub.process.send_signal(how)
        reply, *notices = [await alpha.next(), *[await one.next() for one in (alpha, beta, gamma)]]
        assert (reply["type"], reply["status"], reply["ref"]) == ("hub.reply", "pending", "q")
        assert {notice["type"] for notice in notices} == {"hub.notice"}
        assert [await one.closed() for one in (alpha, beta, gamma)] == [1001] * 3
        assert await look == (200, {**(await look)[1], "messages": []})
        assert (await take)[1]["messages"] == []
        status, asked = await ask
        assert (status, asked["status"], asked["reply"]) == (202, "pending", None)
        assert await asyncio.wait_for(hub.process.wait(), 10) == 0
        assert monotonic() - started < 4


@pytest.mark.slow
async def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    async with (
        hub_process("--rate-limit", "0") as hub,
        connected(hub, "beta", receipts=False, max_in_flight=1000),
    ):
        await post(hub, "beta", *("x" * 60_000 for _ in range(130)))
        started = monotonic()
        hub.process.terminate()
        assert await asyncio.wait_for(hub.process.wait(), 10) == 0
        assert monotonic() - started < 9

"""The hub stops or comes back while IDEs have streams and calls open."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import psutil
import pytest
from mcp.client.subscriptions import SubscriptionLost

from tests.acceptance.process import HubProcess, hub_process
from tests.mcp.door import ENVELOPE, LEGACY, MODERN, MODERN_HEADERS, Ide, ide
from tests.web.peer import look
from tests.web.raw import RawConnection

STREAMS = 200
WATCHED_SECONDS = 5.0


async def listen(one: Ide, *inboxes: str, ready: asyncio.Event) -> str:
    """Hold a stream open; how it ended."""
    uris = [f"inbox://{inbox}" for inbox in inboxes]
    try:
        async with one.client.listen(resource_subscriptions=uris) as events:
            ready.set()
            async for _ in events:
                pass
    except SubscriptionLost:
        return "lost"
    return "ended"


async def test_a_hub_told_to_stop_answers_who_waits_and_ends_its_streams() -> None:
    async with hub_process() as hub, ide(hub, MODERN) as alpha, ide(hub, LEGACY) as beta:
        for one in (alpha, beta):
            await one.client.list_tools()  # or each would ask for them after its first call
        ready = asyncio.Event()
        stream = asyncio.create_task(listen(alpha, "alpha", ready=ready))
        await ready.wait()
        reads = [
            asyncio.create_task(one.call("get_messages", client_id=name, wait=50))
            for one, name in ((alpha, "delta"), (beta, "epsilon"))
        ]
        waits = [
            asyncio.create_task(one.ask(name, "gamma"))
            for one, name in ((alpha, "alpha"), (beta, "beta"))
        ]
        while len(await look(hub, "gamma")) < 2:
            pass
        started = monotonic()
        hub.process.send_signal(signal.SIGTERM)
        assert [(await wait)["status"] for wait in waits] == ["pending", "pending"]
        assert [(await read)["messages"] for read in reads] == [[], []]
        assert await stream == "ended"
        assert await asyncio.wait_for(hub.process.wait(), 10) == 0
        assert monotonic() - started < 3


async def test_a_hub_that_comes_back_is_the_same_to_its_clients() -> None:
    async with hub_process() as first, ide(first, LEGACY) as alpha, ide(first, MODERN) as beta:
        await alpha.send("alpha", "beta")
        await beta.send("beta", "alpha")
        first.process.send_signal(signal.SIGTERM)
        await first.process.wait()
        async with hub_process("--port", str(port_of(first))):
            await alpha.send("alpha", "beta", "after")
            assert [message["text"] for message in await beta.read("beta")] == ["after"]


@pytest.mark.slow
async def test_idle_streams_cost_under_a_hundredth_of_a_core_and_end_with_the_hub() -> None:
    async with hub_process() as hub, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(dialled(hub)) for _ in range(STREAMS)]
        for number, stream in enumerate(streams):
            await stream.request("POST", "/mcp", *listening(f"agent-{number}"))
            await stream.reader.readuntil(b"notifications/subscriptions/acknowledged")
        process = psutil.Process(hub.process.pid)
        before = process.cpu_times()
        await asyncio.sleep(WATCHED_SECONDS)
        after = process.cpu_times()
        used = after.user + after.system - before.user - before.system
        assert used < 0.01 * WATCHED_SECONDS
        started = monotonic()
        hub.process.send_signal(signal.SIGTERM)
        for stream in streams:
            assert b'"result"' in await stream.reader.read()
        assert await hub.process.wait() == 0
        assert monotonic() - started < 3


@asynccontextmanager
async def dialled(hub: HubProcess) -> AsyncIterator[RawConnection]:
    connection = RawConnection(*await asyncio.open_connection("127.0.0.1", port_of(hub)))
    yield connection
    connection.cut()


def port_of(hub: HubProcess) -> int:
    return int(hub.url.rpartition(":")[2])


def listening(agent_id: str) -> tuple[bytes, dict[str, str]]:
    """A request for the stream of an inbox: its body and its headers."""
    wanted = {"resourceSubscriptions": [f"inbox://{agent_id}"]}
    params = {"notifications": wanted, "_meta": ENVELOPE}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    return json.dumps(message).encode(), {**MODERN_HEADERS, "Mcp-Method": "subscriptions/listen"}

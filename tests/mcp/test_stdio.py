"""`agent-hub stdio`: for clients that speak MCP over stdin and stdout only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError

from tests.auth.guarded import guarded_hub
from tests.clock import ManualClock
from tests.mcp.door import Ide
from tests.server import RunningHub
from tests.web.caller import Caller
from tests.web.waiting import until

pytestmark = pytest.mark.slow


@asynccontextmanager
async def bridged(url: str, era: str, **variables: str) -> AsyncIterator[Ide]:
    """An IDE whose MCP server is the bridge, a process of its own."""
    command = ["-m", "agent_hub", "stdio", "--url", url]
    parameters = StdioServerParameters(command=sys.executable, args=command, env=variables)
    async with Client(stdio_client(parameters), mode=era) as client:
        yield Ide(client)


async def test_the_bridge_has_the_hubs_tools_and_resources(
    served: RunningHub, rest: Caller, era: str
) -> None:
    async with bridged(f"{served.url}/mcp", "auto" if era != "legacy" else era) as alpha:
        assert len((await alpha.client.list_tools()).tools) == 5
        await alpha.send("alpha", "beta", "over stdio")
        [message] = (await rest.receive("beta"))["messages"]
        assert message["text"] == "over stdio"
        told = await alpha.refused("get_messages", client_id="no spaces")
        assert told["errors"][0]["pointer"] == "/client_id"
        assert [r.uri for r in (await alpha.client.list_resources()).resources] == ["agents://"]
        assert "No messages." in str(await alpha.client.read_resource("inbox://alpha"))
        with pytest.raises(MCPError, match="no resource"):
            await alpha.client.read_resource("file:///etc/passwd")
        waiting = asyncio.ensure_future(alpha.ask("alpha", "beta"))
        await until(lambda: served.hub.open_waits == 1)
        [question] = (await rest.receive("beta"))["messages"]
        await rest.send("beta", "alpha", "yes", reply_to=question["id"])
        assert (await waiting)["reply"]["text"] == "yes"


async def test_the_bridge_is_one_to_the_hub_that_the_environment_names(
    served: RunningHub, rest: Caller
) -> None:
    command = ["-m", "agent_hub", "stdio"]
    named = {"AGENT_HUB_URL": served.url}
    parameters = StdioServerParameters(command=sys.executable, args=command, env=named)
    async with Client(stdio_client(parameters), mode="legacy") as client:
        await Ide(client).send("alpha", "beta", "over stdio")
    assert (await rest.receive("beta"))["messages"]


async def test_without_a_hub_the_bridge_says_so_and_lives_on() -> None:
    async with bridged("http://127.0.0.1:9/mcp", "legacy") as alpha:
        for _ in range(2):
            with pytest.raises(MCPError, match="cannot be reached"):
                await alpha.client.list_tools()


@pytest.mark.parametrize("path", ["", "/api/v1"])
async def test_at_another_address_of_a_hub_the_bridge_says_where_to_go(
    served: RunningHub, path: str
) -> None:
    async with bridged(f"{served.url}{path}", "legacy") as alpha:
        with pytest.raises(
            MCPError, match=f"no MCP is at {served.url}{path}: a hub has it at /mcp"
        ):
            await alpha.client.list_tools()


async def test_the_bridge_shows_its_token_to_a_hub_that_asks_for_one(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock) as guarded:
        token = await guarded.token("alpha")
        async with bridged(f"{guarded.hub.url}/mcp", "legacy", AGENT_HUB_TOKEN=token) as alpha:
            await alpha.call("checkin_client", client_id="alpha", name="Alpha")
            assert (await alpha.refused("get_messages", client_id="beta"))["code"] == "forbidden"
        async with bridged(f"{guarded.hub.url}/mcp", "legacy") as nobody:
            for _ in range(2):
                with pytest.raises(MCPError, match="credential"):
                    await nobody.client.list_tools()

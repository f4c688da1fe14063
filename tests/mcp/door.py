"""Clients of the MCP door: the SDK's own, and requests written by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mcp.client import Client
from mcp_types import CallToolResult, TextContent

from tests.acceptance.process import HubProcess
from tests.server import RunningHub
from tests.web.raw import RawConnection

LEGACY = "legacy"
MODERN = "2026-07-28"
ERAS = (LEGACY, MODERN)
ACCEPT = {"Accept": "application/json, text/event-stream"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
MODERN_HEADERS = {**ACCEPT, "Mcp-Protocol-Version": MODERN}


class Ide:
    """An IDE that speaks MCP. What it calls must succeed, unless it says `refused`."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The structured answer."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, result.content
        return _structured(result)

    async def text(self, tool: str, /, **arguments: Any) -> str:
        """The Markdown that a model reads."""
        result = await self.result(tool, **arguments)
        assert not result.is_error, result.content
        return _text(result)

    async def refused(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """The problem object."""
        result = await self.result(tool, **arguments)
        assert result.is_error, result.content
        assert _structured(result)["title"] in _text(result)
        return _structured(result)

    async def result(self, tool: str, /, **arguments: Any) -> CallToolResult:
        return await self.client.call_tool(tool, arguments)

    # --- the usual calls ------------------------------------------------------------------

    async def send(self, sender: str, to: str, text: str = "hello", **more: Any) -> dict[str, Any]:
        return await self.call(
            "send_message", sender_id=sender, recipient_id=to, message=text, **more
        )

    async def ask(self, sender: str, to: str, text: str = "ready?", **more: Any) -> dict[str, Any]:
        return await self.call(
            "send_message_and_wait", sender_id=sender, recipient_id=to, message=text, **more
        )

    async def read(self, agent_id: str, **more: Any) -> list[dict[str, Any]]:
        """The messages of get_messages."""
        told = await self.call("get_messages", client_id=agent_id, **more)
        messages = told["messages"]
        assert isinstance(messages, list)
        return messages


def _structured(result: CallToolResult) -> dict[str, Any]:
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def _text(result: CallToolResult) -> str:
    [content] = result.content
    assert isinstance(content, TextContent)
    return content.text


@asynccontextmanager
async def ide(hub: RunningHub | HubProcess, era: str = MODERN) -> AsyncIterator[Ide]:
    """An IDE with the SDK's client, of either era.

    The client must be left by the task that entered it, which a fixture's is not.
    """
    ready: asyncio.Future[Ide] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()

    async def live() -> None:
        async with Client(f"{hub.url}/mcp/", mode=era) as client:
            ready.set_result(Ide(client))
            await stop.wait()

    task = asyncio.create_task(live())
    await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield ready.result()
    finally:
        stop.set()
        await task


def call(tool: str, era: str = LEGACY, **arguments: Any) -> tuple[bytes, dict[str, str]]:
    """A tool call without any handshake: its body and its headers."""
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    headers = dict(ACCEPT)
    if era == MODERN:
        params["_meta"] = ENVELOPE
        headers = {**MODERN_HEADERS, "Mcp-Method": "tools/call", "Mcp-Name": tool}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return json.dumps(message).encode(), headers


async def say(connection: RawConnection, tool: str, era: str = LEGACY, **arguments: Any) -> None:
    """Call a tool by hand and do not wait for the answer."""
    body, headers = call(tool, era, **arguments)
    await connection.request("POST", "/mcp", body, headers)

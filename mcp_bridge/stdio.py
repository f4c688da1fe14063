"""A hub for clients that speak MCP over stdin and stdout only.

The SDK's server and its client, back to back: what comes in on one side goes out on the other,
so that there is no second implementation of anything. Each request gets a client of its own, as
the protocol has no session: a hub that comes back later is a hub that was never away.
"""

from __future__ import annotations

from typing import Any, TypeVar

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ListResourcesRequest,
    ListResourcesResult,
    ListResourceTemplatesRequest,
    ListResourceTemplatesResult,
    ListToolsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequest,
    ReadResourceRequestParams,
    ReadResourceResult,
    Request,
    Result,
)

from mcp_bridge.server import INSTRUCTIONS, NAME, TITLE

REVISION = "2026-07-28"

NOT_LET_IN = "the hub asks for a credential: AGENT_HUB_TOKEN must hold a good token"

Context = ServerRequestContext[Any, Any]
_Result = TypeVar("_Result", bound=Result)


class Bridge:
    """Passes requests on to the hub at `url`, with `token` if it asks for a credential."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def _http_client(self, statuses: list[int]) -> httpx2.AsyncClient:
        """A client that notes the status of each answer."""

        async def note(response: httpx2.Response) -> None:
            statuses.append(response.status_code)

        client = create_mcp_http_client(headers=self._headers)
        client.event_hooks = {"response": [note]}
        return client

    async def tools(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return await self._pass(context, ListToolsRequest(), ListToolsResult)

    async def call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        plain = CallToolRequestParams(name=params.name, arguments=params.arguments)
        return await self._pass(context, CallToolRequest(params=plain), CallToolResult)

    async def resources(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        return await self._pass(context, ListResourcesRequest(), ListResourcesResult)

    async def templates(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        return await self._pass(
            context, ListResourceTemplatesRequest(), ListResourceTemplatesResult
        )

    async def read(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        plain = ReadResourceRequestParams(uri=params.uri)
        return await self._pass(context, ReadResourceRequest(params=plain), ReadResourceResult)

    async def _pass(
        self, context: Context, request: Request[Any, Any], result: type[_Result]
    ) -> _Result:
        """The hub's answer. Raises MCPError: the hub's own, or that there is no hub."""
        token = None if context.meta is None else context.meta.get("progress_token")

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            await context.session.send_progress_notification(
                token or "", progress, total, message, str(context.request_id)
            )

        failure: MCPError
        statuses: list[int] = []
        try:
            transport = streamable_http_client(self._url, http_client=self._http_client(statuses))
            async with Client(transport, mode=REVISION) as hub:
                return await hub.session.send_request(
                    request, result, progress_callback=None if token is None else tell
                )
        except* MCPError as refused:
            # Of the hub's own refusal the SDK's error says only that there was one.
            failure = _first(refused)
            if 401 in statuses:
                failure = MCPError(INTERNAL_ERROR, NOT_LET_IN)
            elif not {404, 405}.isdisjoint(statuses):
                failure = MCPError(
                    INTERNAL_ERROR, f"no MCP is at {self._url}: a hub has it at /mcp"
                )
        except* httpx2.TransportError:
            # Comes with an MCPError that says less.
            failure = MCPError(INTERNAL_ERROR, f"the hub at {self._url} cannot be reached")
        raise failure


def _first(group: BaseExceptionGroup[MCPError]) -> MCPError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def serve(url: str, version: str, token: str | None = None) -> None:
    """Speak MCP on stdin and stdout, for the hub at `url`, until stdin ends."""
    bridge = Bridge(url, token)
    server: Server[Any] = Server(
        NAME,
        version=version,
        title=TITLE,
        instructions=INSTRUCTIONS,
        on_list_tools=bridge.tools,
        on_call_tool=bridge.call,
        on_list_resources=bridge.resources,
        on_list_resource_templates=bridge.templates,
        on_read_resource=bridge.read,
    )
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())

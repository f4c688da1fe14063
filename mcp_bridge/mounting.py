"""An MCP server on a route: who calls, which of the SDK's two managers answers, and their life.

The SDK writes a call's answer as JSON or as a stream of events, by manager and not by call. JSON
is faster; only a stream can carry progress, and only then does the SDK hear that a client left.
So calls that can wait get the one, all others the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from aiohttp import web
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import PARSE_ERROR

from agent_hub.core.clock import Clock
from agent_hub.core.errors import MalformedJson
from agent_hub.core.principal import Principal
from agent_hub.wire import strict_json
from mcp_bridge import scopes
from mcp_bridge.asgi import Adapter, OnHead

PATHS = ("/mcp", "/mcp/")

# Given as an object because the SDK would make one anew for every call.
CHECKED_BEFORE = TransportSecuritySettings(enable_dns_rebinding_protection=False)
"""Host and Origin are checked before a request comes here, for every route alike."""


class Mounting:
    """`may_wait` tells of a JSON-RPC message whether its answer can be long in coming.

    `read_body` reads a request within bounds, `request_id` names it, `caller` and `scheme` say
    who sent it and how, `on_head` adds headers.
    """

    def __init__(
        self,
        server: Server[Any],
        clock: Clock,
        *,
        may_wait: Callable[[Any], bool],
        max_body_bytes: int,
        read_body: Callable[[web.Request], Awaitable[bytes]],
        request_id: Callable[[web.Request], str],
        caller: Callable[[web.Request], Principal],
        scheme: Callable[[web.Request], str],
        on_head: OnHead,
    ) -> None:
        self._may_wait = may_wait
        self._read_body = read_body
        self._request_id = request_id
        self._caller = caller
        self._scheme = scheme
        self._on_head = on_head
        self._adapter = Adapter(clock, on_head)
        self._streaming, self._answering = (
            StreamableHTTPSessionManager(
                server,
                json_response=json_response,
                stateless=True,
                security_settings=CHECKED_BEFORE,
                max_request_body_size=max_body_bytes,
            )
            for json_response in (False, True)
        )

    async def post(self, request: web.Request) -> web.StreamResponse:
        """One JSON-RPC message of a client, of any revision. Raises InsufficientScope."""
        body = await self._read_body(request)
        try:
            strict_json.check(body)
        except MalformedJson as refusal:
            return self._parse_error(request, refusal)
        message = msgspec.json.decode(body)
        caller = self._caller(request)
        scopes.must_have(caller, message)
        manager = self._streaming if self._may_wait(message) else self._answering
        return await self._adapter.serve(
            request,
            body,
            manager.asgi_app,
            caller=caller,
            request_id=self._request_id(request),
            scheme=self._scheme(request),
            **_user(caller),
        )

    def _parse_error(self, request: web.Request, refusal: MalformedJson) -> web.Response:
        error = {"code": PARSE_ERROR, "message": f"Parse error: {refusal.detail}"}
        response = web.Response(
            status=400,
            body=msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error}),
            content_type="application/json",
        )
        self._on_head(request, response.headers)
        return response

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """The SDK's managers must be left by the task that entered them, so they get their own."""
        ready, stop = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(self._run(ready, stop))
        started = asyncio.create_task(ready.wait())
        await asyncio.wait((task, started), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            started.cancel()
            task.result()
        yield
        stop.set()
        await task

    async def _run(self, ready: asyncio.Event, stop: asyncio.Event) -> None:
        async with AsyncExitStack() as running:
            for manager in (self._streaming, self._answering):
                await running.enter_async_context(manager.run())
            ready.set()
            await stop.wait()
        await self._adapter.finish()


def _user(caller: Principal) -> dict[str, Any]:
    """The caller as the SDK looks for it, which compares who began something with who goes on.

    Its token is a name here: nothing behind this needs the credential itself.
    """
    if caller.is_anyone:
        return {}
    token = AccessToken(
        token=caller.credential, client_id=caller.subject, scopes=sorted(caller.scopes)
    )
    return {"user": AuthenticatedUser(token)}

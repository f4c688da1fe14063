"""What aiohttp refuses before there is a request, answered like every other refusal.

A request line or a header that its parser does not take never reaches the application, and its
own answer would be plain text. The parser's complaint quotes the input, so it is not passed on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from http import HTTPStatus
from secrets import token_hex
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from agent_hub.core.errors import HubError, Internal, Invalid
from agent_hub.web.errors import problem_reply
from agent_hub.web.gate import Gate
from agent_hub.web.lobby import Lobby

log = logging.getLogger(__name__)

USER_TIMEOUT_MS = 90_000


class Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bytes that nobody took for 90 s mean that nobody is there; TCP alone tries for ever.

        Else an answer that its client does not read would stay in the hub. Not sooner: the kernel
        counts a reader that only thinks, its own buffer full, the same way.
        """
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if connection is not None and option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, USER_TIMEOUT_MS)

    def handle_error(
        self,
        request: BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or to a failure outside of the application."""
        request_id = token_hex(8)
        error: HubError
        if status == HTTPStatus.BAD_REQUEST:
            error = Invalid("the request line or the headers are malformed or too long")
        else:
            log.error("request failed", exc_info=exc, extra={"request_id": request_id})
            error = Internal()
        reply = problem_reply(error, request_id, status=status)
        reply.add("X-Request-Id", request_id)
        reply.force_close()
        return reply


class Server(web.Server):
    """Makes the connections. With a `lobby` those wait there that show no credential."""

    def __init__(self, handler: Any, *, lobby: Lobby | None, **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._lobby = lobby

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Cut off one too many: to answer it would cost what the limit is to save."""
        super().connection_made(handler, transport)
        peer = transport.get_extra_info("peername")
        if self._lobby is None or not isinstance(peer, tuple):  # a unix socket's is a text
            return
        if not self._lobby.enter(handler, peer[0]):
            # Not yet: aiohttp is still about to begin with it.
            self._loop.call_soon(transport.abort)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        if self._lobby is not None:
            self._lobby.leave(handler)


class Runner(web.AppRunner):
    """An application served through these connections, each request through `gate` first."""

    def __init__(self, app: web.Application, gate: Gate, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._gate = gate

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        return Server(
            self._gate.before(made.request_handler),
            lobby=self._gate.lobby,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )

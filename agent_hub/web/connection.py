"""What aiohttp refuses before there is a request, answered like every other refusal.

A request line or a header that its parser does not take never reaches the application, and its
own answer would be plain text. The parser's complaint quotes the input, so it is not passed on.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from secrets import token_hex
from typing import Any

from aiohttp import web
from aiohttp.web_request import BaseRequest

from agent_hub.core.errors import HubError, Internal, Invalid
from agent_hub.web.errors import problem_reply
from agent_hub.web.gate import Gate

log = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ()

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
            error = Internal("the hub failed; its log knows more")
        reply = problem_reply(error, request_id, status=status)
        reply.add("X-Request-Id", request_id)
        reply.force_close()
        return reply


class Server(web.Server):
    """Makes the connections."""

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An application served through these connections, each request through `gate` first."""

    def __init__(self, app: web.Application, gate: Gate, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._gate = gate

    async def _make_server(self) -> Server:
        made = await super()._make_server()
        return Server(
            # aiohttp types its handlers by the base class, though its factory makes Requests
            self._gate.before(made.request_handler),  # type: ignore[arg-type]
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )

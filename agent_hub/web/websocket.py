"""The WebSocket door: one socket is one subscription, and sends drafts on the side."""

from __future__ import annotations

import asyncio
import socket as sockets

from aiohttp import web
from msgspec import Struct

from agent_hub.core.clock import Clock
from agent_hub.core.errors import Invalid
from agent_hub.core.hub import Hub
from agent_hub.core.principal import Principal
from agent_hub.core.subscription import DEFAULT_IN_FLIGHT
from agent_hub.web.bodies import query
from agent_hub.web.roster import Roster
from agent_hub.web.stream import Stream

MAX_FRAME_BYTES = 320 * 1024
WRITE_AHEAD_BYTES = 256 * 1024
CLOSE_SECONDS = 2.0
USER_TIMEOUT_MS = 90_000


class SocketQuery(Struct, forbid_unknown_fields=True):
    """How to open a stream. `ack` is auto or manual, `events` all or none, `since` a cursor."""

    ack: str = "auto"
    since: str | None = None
    max_in_flight: int = DEFAULT_IN_FLIGHT
    events: str | None = None

    def check(self) -> None:
        """Raise Invalid for a word that is not one of those."""
        if self.ack not in ("auto", "manual"):
            raise Invalid.at("?ack", "auto or manual")
        if self.events not in (None, "all", "none"):
            raise Invalid.at("?events", "all or none")


class WebSockets:
    """The handler of `/ws/{agent_id}`."""

    def __init__(self, hub: Hub, clock: Clock, roster: Roster) -> None:
        self._hub = hub
        self._clock = clock
        self._roster = roster

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Refuse with a problem while that is possible, then upgrade and serve."""
        asked = query(request, SocketQuery)
        asked.check()
        response = web.WebSocketResponse(
            autoping=False,
            compress=False,
            max_msg_size=MAX_FRAME_BYTES,
            writer_limit=WRITE_AHEAD_BYTES,
            timeout=CLOSE_SECONDS,
        )
        if not response.can_prepare(request):
            raise Invalid("this is a WebSocket: connect with the ws:// scheme")
        caller = Principal("websocket", request.remote or "")
        subscription = await self._hub.subscribe(
            caller,
            request.match_info["agent_id"],
            receipts=asked.ack == "auto",
            since=asked.since,
            max_in_flight=asked.max_in_flight,
        )
        try:
            await response.prepare(request)
            _let_the_kernel_give_up(request)
            stream = Stream(self._hub, self._clock, caller, request, response, subscription)
            self._roster.add(stream, asked.events)
            try:
                await stream.serve()
            finally:
                self._roster.remove(stream)
        finally:
            await asyncio.shield(asyncio.ensure_future(subscription.close()))
        return response


def _let_the_kernel_give_up(request: web.Request) -> None:
    """Bytes that nobody took for 90 s mean that nobody is there; TCP alone would try for minutes.

    Not sooner: the kernel counts a reader that only thinks, its own buffer full, the same way.
    """
    transport = request.transport
    connection = None if transport is None else transport.get_extra_info("socket")
    option = getattr(sockets, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        connection.setsockopt(sockets.IPPROTO_TCP, option, USER_TIMEOUT_MS)

"""The WebSocket door: one socket is one subscription, and sends drafts on the side."""

from __future__ import annotations

import asyncio

from aiohttp import web
from msgspec import Struct

from agent_hub.core.clock import Clock
from agent_hub.core.errors import Invalid
from agent_hub.core.hub import Hub
from agent_hub.core.principal import Principal
from agent_hub.core.subscription import DEFAULT_IN_FLIGHT
from agent_hub.web.bodies import query
from agent_hub.web.gate import Gate
from agent_hub.web.roster import Roster
from agent_hub.web.stream import Stream

MAX_FRAME_BYTES = 320 * 1024
WRITE_AHEAD_BYTES = 256 * 1024
CLOSE_SECONDS = 2.0


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

    def __init__(self, hub: Hub, clock: Clock, gate: Gate, roster: Roster) -> None:
        self._hub = hub
        self._gate = gate
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
            self._gate.finish(request, response.headers)
            await response.prepare(request)
            stream = Stream(self._hub, self._clock, caller, request, response, subscription)
            self._roster.add(stream, asked.events)
            try:
                await stream.serve()
            finally:
                self._roster.remove(stream)
        finally:
            await asyncio.shield(asyncio.ensure_future(subscription.close()))
        return response

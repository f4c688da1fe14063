"""The WebSocket door: one socket is one subscription, and sends drafts on the side."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, hdrs, web
from msgspec import Struct

from agent_hub.core.clock import Clock
from agent_hub.core.deadline import within
from agent_hub.core.errors import (
    BackendUnavailable,
    Draining,
    HubError,
    Invalid,
    RateLimited,
    TooManyInboxes,
    Unauthenticated,
)
from agent_hub.core.hub import Hub
from agent_hub.core.principal import Principal, Scope
from agent_hub.core.subscription import DEFAULT_IN_FLIGHT, Subscription
from agent_hub.web.bodies import query
from agent_hub.web.callers import NOT_SHOWN, Callers
from agent_hub.web.close_codes import CloseCode
from agent_hub.web.gate import Gate
from agent_hub.web.keys import CALL
from agent_hub.web.limits import retry_header
from agent_hub.web.roster import Roster
from agent_hub.web.stream import WRITE_SECONDS, Stream
from agent_hub.web.waiting_room import CREDENTIAL_SECONDS, WaitingRoom
from agent_hub.wire import frames, strict_json
from agent_hub.wire.problems import problem

MAX_FRAME_BYTES = 320 * 1024
WRITE_AHEAD_BYTES = 256 * 1024
CLOSE_SECONDS = 2.0

CLOSED_FOR: dict[type[HubError], CloseCode] = {
    RateLimited: CloseCode.RATE,
    TooManyInboxes: CloseCode.RATE,
    Draining: CloseCode.GOING_AWAY,
    BackendUnavailable: CloseCode.INTERNAL,
    Invalid: CloseCode.BAD_FRAME,
}
"""What else than the credential can be wrong with a socket that is open already."""


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

    def __init__(
        self, hub: Hub, clock: Clock, gate: Gate, callers: Callers, roster: Roster
    ) -> None:
        self._hub = hub
        self._gate = gate
        self._callers = callers
        self._clock = clock
        self._roster = roster
        self._waiting_room = WaitingRoom()

    async def open(self, request: web.Request) -> web.StreamResponse:
        """Refuse with a problem while that is possible, then upgrade and serve.

        Who shows no credential in a header is upgraded first and asked for a frame with it.
        """
        asked = query(request, SocketQuery)
        asked.check()
        response = web.WebSocketResponse(
            autoping=False,
            compress=False,
            max_msg_size=MAX_FRAME_BYTES + 1,  # aiohttp refuses what has so many bytes
            writer_limit=WRITE_AHEAD_BYTES,
            timeout=CLOSE_SECONDS,
        )
        if request.method != hdrs.METH_GET or not response.can_prepare(request):
            raise Invalid("this is a WebSocket: connect with the ws:// scheme")
        if self._callers.are_asked and request[CALL].caller is None:
            await self._admit(request, response, asked)
        else:
            caller = self._gate.caller(request, "websocket")
            subscription = await self._subscribe(request, caller, asked)
            await self._serve(request, response, caller, subscription, asked)
        return response

    async def _subscribe(
        self, request: web.Request, caller: Principal, asked: SocketQuery
    ) -> Subscription:
        return await self._hub.subscribe(
            caller,
            request.match_info["agent_id"],
            receipts=asked.ack == "auto",
            since=asked.since,
            max_in_flight=asked.max_in_flight,
        )

    async def _serve(
        self,
        request: web.Request,
        response: web.WebSocketResponse,
        caller: Principal,
        subscription: Subscription,
        asked: SocketQuery,
    ) -> None:
        events = asked.events if caller.may(Scope.LIST) else "none"
        try:
            if not response.prepared:
                await self._upgrade(request, response)
            stream = Stream(self._hub, self._clock, caller, request, response, subscription)
            self._roster.add(stream, events)
            try:
                await stream.serve()
            finally:
                self._roster.remove(stream)
        finally:
            await asyncio.shield(subscription.close())

    async def _upgrade(self, request: web.Request, response: web.WebSocketResponse) -> None:
        self._gate.finish(request, response.headers)
        await response.prepare(request)

    # --- a credential in the first frame --------------------------------------------------

    async def _admit(
        self, request: web.Request, response: web.WebSocketResponse, asked: SocketQuery
    ) -> None:
        """Upgrade, hear the credential, and serve; or close and say why."""
        with self._waiting_room.place(self._callers.peer(request)):
            await self._upgrade(request, response)
            caller = await self._ask(request, response)
        if caller is None:
            return
        try:
            subscription = await self._subscribe(request, caller, asked)
        except HubError as refusal:
            await self._refuse(request, response, refusal)
            return
        await self._serve(request, response, caller, subscription, asked)

    async def _ask(self, request: web.Request, response: web.WebSocketResponse) -> Principal | None:
        """Who the first frame proves; None when the socket is closed."""
        try:
            async with within(self._clock, CREDENTIAL_SECONDS):
                received = await response.receive()
        except TimeoutError:
            told = f"no credential came within {CREDENTIAL_SECONDS:g} s"
            await self._refuse(request, response, Unauthenticated(told, is_missing=True))
            return None
        if response.closed:
            return None
        try:
            credential = _credential(received.data if received.type is WSMsgType.TEXT else "")
            return await self._callers.prove(credential, request, "websocket")
        except HubError as refusal:
            await self._refuse(request, response, refusal)
            return None

    async def _refuse(
        self, request: web.Request, response: web.WebSocketResponse, refusal: HubError
    ) -> None:
        """Say what was wrong in a frame, as a refused upgrade says it in its body."""
        told = problem(refusal, request[CALL].request_id)
        code = _code(refusal)
        self._roster.turned_away(code)
        try:
            async with within(self._clock, WRITE_SECONDS):
                frame = frames.refusal(told, frames.NO_REF, retry_header(refusal))
                await response.send_frame(frame, WSMsgType.TEXT)
        except (ConnectionError, TimeoutError):
            return
        reason = refusal.detail[:100].encode("ascii", "replace")
        await response.close(code=code, message=reason, drain=False)


def _credential(text: str) -> str:
    """What an auth frame shows. Raises Unauthenticated for any other frame."""
    try:
        return strict_json.decode(text.encode(), frames.decode_credential).token
    except HubError as error:
        raise Unauthenticated(
            f'{NOT_SHOWN}, or {{"type": "auth", "token": …}} as the first frame', is_missing=True
        ) from error


def _code(refusal: HubError) -> CloseCode:
    if isinstance(refusal, Unauthenticated) and refusal.is_missing:
        return CloseCode.NO_CREDENTIAL
    return CLOSED_FOR.get(type(refusal), CloseCode.BAD_CREDENTIAL)

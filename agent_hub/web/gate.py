"""The one gate: who may come in at all, and how every answer leaves."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from enum import Enum
from itertools import count
from secrets import token_hex
from time import perf_counter

from aiohttp import hdrs, web
from multidict import istr

from agent_hub.core.errors import (
    HubError,
    Internal,
    UnsupportedMediaType,
)
from agent_hub.core.hub import Hub
from agent_hub.core.metrics import Metrics
from agent_hub.core.principal import Principal
from agent_hub.core.trail import TRAIL
from agent_hub.web.callers import Callers
from agent_hub.web.errors import from_aiohttp, problem_reply
from agent_hub.web.keys import CALL, Call
from agent_hub.web.limits import Headers, add_quota
from agent_hub.web.lobby import Lobby
from agent_hub.web.origins import Origins
from agent_hub.web.outgoing import Outgoing
from agent_hub.web.reply import JSON, SERVER, Reply

log = logging.getLogger(__name__)

SWITCHED = 101
"""A socket lives for hours: its time is no duration of a request."""
FORM = "application/x-www-form-urlencoded"
TURNED_AWAY = "turned away"
"""The route, in the metrics, of what never reached the router."""

X_REQUEST_ID = istr("X-Request-Id")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """What a route asks for, on a hub that asks for credentials at all.

    A route that is put on the router without a word needs one.
    """

    CREDENTIAL = "a good credential"
    OPTIONAL = "nothing, but what is shown must be good"
    OPEN = "nothing"


class ClientGone(Exception):
    """The client hung up while the hub was waiting for it; there is nobody to answer."""


class Gate:
    """Checks Host, Origin and content type, maps errors, names and counts each request.

    `callers` knows who sent a request, `origins` which pages may. `metadata_url` is where the
    sender of a request that lacks a credential reads how to get one (RFC 9728, 5.1).
    """

    def __init__(
        self,
        hub: Hub,
        metrics: Metrics,
        callers: Callers,
        origins: Origins,
        *,
        metadata_url: Callable[[web.Request], str | None] = lambda request: None,
    ) -> None:
        self._hub = hub
        self._metrics = metrics
        self._callers = callers
        self._origins = origins
        self._metadata_url = metadata_url
        self._forms: set[str] = set()
        self._outgoing = Outgoing()
        self._node = token_hex(4)
        self._numbers = count(1)
        self._exact: dict[tuple[str, str], Handler] = {}

    @property
    def lobby(self) -> Lobby | None:
        """Where connections wait that have shown no credential; None where none is asked for."""
        return self._callers.lobby

    @property
    def asks(self) -> bool:
        """Whether a credential is needed."""
        return self._callers.are_asked

    def before(self, application: Handler) -> Handler:
        """The whole application behind this gate, so that nothing goes round it.

        A middleware would do the same for more, and a call whose path is a route's own word for
        word needs no router: both are measured in docs/decisions/0011.
        """
        exact = self._exact

        async def gated(request: web.Request) -> web.StreamResponse:
            started = perf_counter()
            call = request[CALL] = Call(self._request_id(request))
            if TRAIL.is_kept:
                TRAIL.begun(call.request_id)
            method, path = request.method, request.raw_path
            response: web.StreamResponse | None = self._turn_away(request, call.request_id)
            route = TURNED_AWAY
            if response is None:
                # aiohttp's application, past which this goes, answers an expectation.
                expects = hdrs.EXPECT in request.headers
                handler = None if expects else exact.get((method, path))
                try:
                    response = await (handler or application)(request)
                except Exception as error:  # noqa: BLE001 (a failure is answered and logged)
                    response = self._failed(error, request, call.request_id)
                route = path if handler else _route(request)
            if isinstance(response, Reply) and not response.prepared:
                self.finish(request, response)
                self._outgoing.take(request, response)
            seconds = perf_counter() - started
            if TRAIL.is_kept:
                TRAIL.answered(method, route, response.status, seconds)
            if response.status != SWITCHED:
                self._metrics.request(method, route, response.status, seconds)
            return response

        return gated

    def add(
        self,
        router: web.UrlDispatcher,
        method: str,
        path: str,
        handler: Handler,
        *,
        access: Access = Access.CREDENTIAL,
        via: str = "rest",
        takes_form: bool = False,
        is_page: bool = False,
    ) -> None:
        """Put a handler on the router, so that it answers nobody who did not pass this gate.

        `via` is the door that it belongs to. A path without parameters is also called past the
        router. One that `takes_form` takes a form beside JSON; to one that `is_page` any other
        page may link.
        """
        if takes_form:
            self._forms.add(path)
        if is_page:
            self._origins.add_page(path)
        if self.asks and access is not Access.OPEN:
            handler = self._identified(handler, via, needed=access is Access.CREDENTIAL)
        router.add_route(method, path, self._only_gated(handler))
        if method == "GET":
            router.add_route("HEAD", path, self._only_gated(handler))
        if "{" not in path:
            self._exact[method, path] = handler

    def _identified(self, handler: Handler, via: str, *, needed: bool) -> Handler:
        """This handler, for those who show a good credential; `needed`: for nobody else."""

        async def identified(request: web.Request) -> web.StreamResponse:
            if needed or self._callers.shows_credential(request):
                request[CALL].caller = await self._callers.identify(request, via)
            return await handler(request)

        return identified

    def caller(self, request: web.Request, via: str) -> Principal:
        """Who sent a request that came this far."""
        return request[CALL].caller or self._callers.anyone(request, via)

    def _only_gated(self, handler: Handler) -> Handler:
        """The gate is where the server is made; an application served otherwise has it here."""
        gated = self.before(handler)

        async def checked(request: web.Request) -> web.StreamResponse:
            return await (handler if CALL in request else gated)(request)

        return checked

    def finish(self, request: web.Request, reply: Headers) -> None:
        """Add the headers that every answer carries; also for a handler that writes by itself."""
        call = request[CALL]
        if not isinstance(reply, Reply):  # else aiohttp says its own name and version
            reply.add("Server", SERVER)
        reply.add("X-Request-Id", call.request_id)
        if call.quota_of is not None:
            add_quota(reply, self._hub.quota(call.quota_of))
        self._origins.add_cors(request, reply)

    def _request_id(self, request: web.Request) -> str:
        given = request.headers.get(X_REQUEST_ID)
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return f"{self._node}-{next(self._numbers):x}"

    def _turn_away(self, request: web.Request, request_id: str) -> Reply | None:
        """The answer to what may not come in, or asks whether it may; None for the rest."""
        try:
            self._origins.check(request)
            if request.method == "OPTIONS" and self._origins.is_preflight(request):
                return self._origins.preflight()
            self._check_content_type(request)
        except HubError as error:
            return problem_reply(error, request_id)
        return None

    def _failed(self, error: Exception, request: web.Request, request_id: str) -> Reply:
        """The answer to a handler's exception."""
        if isinstance(error, HubError):
            where = self._metadata_url(request)
            return problem_reply(error, request_id, metadata_url=where)
        if isinstance(error, web.HTTPException):
            return problem_reply(from_aiohttp(error, request), request_id)
        if isinstance(error, ClientGone | ConnectionError):
            return Reply(408)  # nobody will read it: aiohttp finds the connection closed
        log.error("request failed", exc_info=error, extra={"request_id": request_id})
        return problem_reply(Internal(), request_id)

    def _check_content_type(self, request: web.Request) -> None:
        """Only JSON comes in: a page can post a form or plain text anywhere, but not JSON.

        Where a form is taken, its sender has to prove more than that it can post.
        """
        if request.headers.get(hdrs.CONTENT_TYPE) == JSON or not request.body_exists:
            return
        takes = FORM if request.path in self._forms else JSON
        if request.content_type not in (JSON, takes):
            raise UnsupportedMediaType(f"send the body with the header Content-Type: {takes}")


def _route(request: web.Request) -> str:
    match = request._match_info  # None when the gate refused it; the public property asserts
    resource = None if match is None else match.route.resource
    return "unmatched" if resource is None else resource.canonical

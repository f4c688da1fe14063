"""An ASGI application, served from an aiohttp handler one request at a time.

ASGI asks two things of a server that aiohttp has no signal for: `receive()` has to sleep until
the client is gone, and the application must not be cut off in the middle of a step. So each
request runs in a task of its own, and one shared tick looks at the connections of those that
sleep.

Beyond ASGI the scope holds `on_response_end`: see `ResponseEnd.call`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from agent_hub.core.clock import Clock, Timer
from agent_hub.core.deadline import within

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
WRITE_SECONDS = 10.0

Message = MutableMapping[str, Any]
Application = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[Message]],
        Callable[[Message], Awaitable[None]],
    ],
    Awaitable[None],
]
OnEnd = Callable[[bool], Awaitable[None]]
OnHead = Callable[[web.Request, "CIMultiDict[str]"], None]


class Adapter:
    """Runs applications for requests. `on_head` may add headers to every response."""

    def __init__(self, clock: Clock, on_head: OnHead) -> None:
        self._clock = clock
        self._on_head = on_head
        self._attendance = Attendance(clock)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(
        self, request: web.Request, body: bytes, app: Application, **scope: Any
    ) -> web.StreamResponse:
        """The response that `app` wrote, already sent; `scope` is added to ASGI's own.

        Raises ConnectionResetError when the client went away before there was one, and what
        `app` raised before it.
        """
        end = ResponseEnd()
        exchange = Exchange(request, body, self._clock, self._attendance, self._on_head)
        whole_scope = {**http_scope(request), **scope, "on_response_end": end.call}
        task = asyncio.ensure_future(exchange.run(app, whole_scope, end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # aiohttp may cancel a handler whose client is gone; the application is told instead.
            await asyncio.shield(task)
        except asyncio.CancelledError:
            exchange.client_is_gone()
            task.add_done_callback(_log_failure)
            raise
        if exchange.response is None:
            raise ConnectionResetError("the client is gone")
        return exchange.response

    async def finish(self) -> None:
        """Wait for the applications whose handlers were cancelled."""
        await asyncio.gather(*self._tasks, return_exceptions=True)


class ResponseEnd:
    """The end of a response, and who wants to know of it."""

    def __init__(self) -> None:
        self._callbacks: list[OnEnd] = []
        self._written: bool | None = None

    async def call(self, callback: OnEnd) -> None:
        """Have `callback` awaited at the end of the response; now, if that is past.

        Its argument is whether all of the response was written to a connection that still stood.
        """
        if self._written is None:
            self._callbacks.append(callback)
        else:
            await callback(self._written)

    async def reach(self, *, written: bool) -> None:
        """The response has ended."""
        self._written = written
        for callback in self._callbacks:
            try:
                await callback(written)
            except Exception:  # one that fails must not keep the others from knowing
                log.exception("failed at the end of a response")


class Exchange:
    """One request and its response, as the application sees them."""

    def __init__(
        self,
        request: web.Request,
        body: bytes,
        clock: Clock,
        attendance: Attendance,
        on_head: OnHead,
    ) -> None:
        self.request = request
        self.response: web.StreamResponse | None = None
        self._body: bytes | None = body
        self._clock = clock
        self._attendance = attendance
        self._on_head = on_head
        self._start: Message = {}
        self._gone = asyncio.Event()
        self._is_lost = False
        self._is_ended = False

    async def run(self, app: Application, scope: dict[str, Any], end: ResponseEnd) -> None:
        """The application from its start to the end of its response."""
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if self.response is None:
                raise
            log.exception("the application failed while it wrote")
            self._hang_up()
        finally:
            await end.reach(written=self._is_ended and not self._is_lost)

    @property
    def is_connected(self) -> bool:
        transport = self.request.transport
        return not self._gone.is_set() and transport is not None and not transport.is_closing()

    def client_is_gone(self) -> None:
        self._gone.set()

    async def receive(self) -> Message:
        """The body, once; after that the disconnect, when it comes."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        with self._attendance.watching(self):
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Write a part of the response. To a client that is gone nothing is written.

        The end of a stream is no content: a client that has read the last part may leave at once.
        """
        if message["type"] == "http.response.start":
            self._start = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        try:
            async with within(self._clock, WRITE_SECONDS):
                await self._write(body, more=more)
        except ConnectionError:
            self.client_is_gone()
        except TimeoutError:
            self._hang_up()
        self._is_lost |= bool(body) and not self.is_connected
        self._is_ended |= not more

    async def _write(self, body: bytes, *, more: bool) -> None:
        """Returns when the kernel has all of it, not when there is room in the process again."""
        transport = self.request.transport
        if transport is None or self._gone.is_set():
            raise ConnectionResetError("the client is gone")
        transport.set_write_buffer_limits(high=0)
        if self.response is None:
            await self._begin(body, more=more)
        elif more:
            await self.response.write(body)
        else:
            await self.response.write_eof(body)
        await self.request.writer.drain()
        if not more and not transport.is_closing():  # uvloop lets nobody touch a closed one
            transport.set_write_buffer_limits()

    async def _begin(self, body: bytes, *, more: bool) -> None:
        """A response that is whole goes out in one write, with its length."""
        status = self._start["status"]
        response = web.StreamResponse(status=status) if more else web.Response(status=status)
        if isinstance(response, web.Response):
            response.body = body
        for name, value in self._start.get("headers", ()):
            if name.lower() not in (b"connection", b"content-length"):
                response.headers[name.decode("latin-1")] = value.decode("latin-1")
        self._on_head(self.request, response.headers)
        await response.prepare(self.request)
        self.response = response
        if more:
            await response.write(body)
        else:
            await response.write_eof()

    def _hang_up(self) -> None:
        self.client_is_gone()
        if self.request.transport is not None:
            self.request.transport.abort()


class Attendance:
    """Looks, with one timer for all, whether the clients of sleeping exchanges are still there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: set[Exchange] = set()
        self._timer: Timer | None = None

    def watching(self, exchange: Exchange) -> Watching:
        return Watching(self._watched, exchange, self._start)

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self._clock.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for exchange in self._watched:
            if not exchange.is_connected:
                exchange.client_is_gone()
        if self._watched:
            self._start()


class Watching:
    """An exchange's place among the watched, while the block runs."""

    def __init__(
        self, watched: set[Exchange], exchange: Exchange, start: Callable[[], None]
    ) -> None:
        self._watched = watched
        self._exchange = exchange
        self._start = start

    def __enter__(self) -> None:
        self._watched.add(self._exchange)
        self._start()

    def __exit__(self, *exc_info: object) -> None:
        self._watched.discard(self._exchange)


def http_scope(request: web.Request) -> dict[str, Any]:
    """The connection scope of ASGI 3.0 for an HTTP request."""
    path, _, query = request.raw_path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": f"{request.version.major}.{request.version.minor}",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": (request.remote or "", 0),
        "server": None,
        "state": {},
    }


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the application failed after its client had gone", exc_info=task.exception())

"""The adapter between aiohttp and ASGI, without a hub."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import ClientSession, web

from mcp_bridge.asgi import TICK_SECONDS, WRITE_SECONDS, Adapter, Application, ResponseEnd
from tests.clock import ManualClock
from tests.listening import listening
from tests.web.waiting import until

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Page:
    """An application served by the adapter, and what it was told of its responses."""

    def __init__(self, app: Application, clock: ManualClock) -> None:
        self.ends: list[bool] = []
        self.transports: list[asyncio.Transport] = []
        self.session: ClientSession
        self._app = app
        self._adapter = Adapter(clock, lambda request, headers: headers.add("X-Ours", "yes"))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self.transports.append(request.transport)
        return await self._adapter.serve(request, await request.read(), self._run, word="extra")

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def ended(written: bool) -> None:
            self.ends.append(written)

        await scope["on_response_end"](ended)
        await self._app(scope, receive, send)


@pytest.fixture(params=[False, True], ids=["looking", "cancelling"])
def cancelling(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@asynccontextmanager
async def page(app: Application, clock: ManualClock, *, cancelling: bool = False):  # type: ignore[no-untyped-def]
    served = Page(app, clock)
    application = web.Application()
    application.router.add_post("/", served.answer)
    async with (
        listening(application, handler_cancellation=cancelling) as port,
        ClientSession(f"http://127.0.0.1:{port}") as served.session,
    ):
        yield served


def start(status: int = 200) -> dict[str, Any]:
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    return {"type": "http.response.start", "status": status, "headers": headers}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def test_the_body_comes_once_and_a_whole_answer_goes_with_its_length(
    clock: ManualClock, cancelling: bool
) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        assert (message["type"], message["more_body"]) == ("http.request", False)
        assert (scope["type"], scope["method"], scope["path"]) == ("http", "POST", "/")
        assert (scope["query_string"], scope["word"]) == (b"q=1", "extra")
        assert (b"x-theirs", b"Yes") in scope["headers"]
        await send(start(201))
        await send(part(message["body"]))

    async with page(echo, clock, cancelling=cancelling) as served:
        for _ in range(2):  # on one connection
            async with served.session.post("/?q=1", data=b"hi", headers={"X-Theirs": "Yes"}) as got:
                assert (got.status, await got.read()) == (201, b"hi")
                assert (got.headers["X-Ours"], got.headers["Content-Length"]) == ("yes", "2")
        assert served.ends == [True, True]


async def test_a_stream_goes_out_part_by_part(clock: ManualClock) -> None:
    go_on = asyncio.Event()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"one", more=True))
        await go_on.wait()
        await send(part(b"two", more=True))
        await send(part(b""))

    async with page(stream, clock) as served, served.session.post("/") as got:
        assert await got.content.readany() == b"one"
        assert served.ends == []
        go_on.set()
        assert await got.content.read() == b"two"
        await until(lambda: served.ends == [True])


async def test_receive_sleeps_until_the_client_is_gone(
    clock: ManualClock, cancelling: bool
) -> None:
    received: list[str] = []

    async def listen(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        received.append("body")
        received.append((await receive())["type"])

    async with page(listen, clock, cancelling=cancelling) as served:
        calling = asyncio.ensure_future(served.session.post("/"))
        await until(lambda: received == ["body"])
        for _ in range(4):
            await clock.advance(TICK_SECONDS)
        assert received == ["body"]
        calling.cancel()

        async def told() -> bool:
            await clock.advance(TICK_SECONDS)
            return len(received) == 2

        await until(told)
        assert received == ["body", "http.disconnect"]
        await until(lambda: served.ends == [False])
        await clock.advance(TICK_SECONDS)
        assert clock.pending == 0


async def test_who_leaves_in_the_middle_does_not_cut_the_application_off(
    clock: ManualClock, cancelling: bool
) -> None:
    steps: list[str] = []
    go_on = asyncio.Event()

    async def work(scope: Scope, receive: Receive, send: Send) -> None:
        steps.append("begun")
        await go_on.wait()
        steps.append("done")
        await send(start())
        await send(part(b"too late"))

    async with page(work, clock, cancelling=cancelling) as served:
        calling = asyncio.ensure_future(served.session.post("/"))
        await until(lambda: steps == ["begun"])
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        for _ in range(50):
            await clock.advance(TICK_SECONDS)
        go_on.set()
        await until(lambda: served.ends == [False])
        assert steps == ["begun", "done"]


async def test_a_client_that_does_not_read_is_hung_up_on(clock: ManualClock) -> None:
    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"x" * 50_000_000))

    async with page(flood, clock) as served, served.session.post("/"):
        await until(lambda: clock.pending > 0)
        await clock.advance(WRITE_SECONDS)
        await until(lambda: served.ends == [False])


def test_a_line_that_is_cut_in_the_middle_of_an_answer_is_no_failure_of_the_application(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"x" * 50_000_000))

    async def cut() -> None:
        async with page(flood, clock) as served, served.session.post("/"):
            await until(lambda: clock.pending > 0)
            served.transports[0].abort()
            await until(lambda: served.ends == [False])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(cut())
    assert caplog.text == ""


async def test_who_reads_the_last_part_and_leaves_has_it(clock: ManualClock) -> None:
    left = asyncio.Event()

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"all of it", more=True))
        await left.wait()
        await send(part(b""))

    async with page(stream, clock) as served:
        got = await served.session.post("/")
        assert await got.content.readany() == b"all of it"
        got.close()
        for _ in range(20):
            await clock.advance(TICK_SECONDS)
        left.set()
        await until(lambda: served.ends == [True])


async def test_what_fails_before_its_answer_is_a_500_and_after_it_a_cut_line(
    clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["query_string"]:
            await send(start())
            await send(part(b"half", more=True))
        raise RuntimeError("broken")

    async with page(fail, clock) as served:
        async with served.session.post("/") as got:
            assert got.status == 500
        async with served.session.post("/?late") as got:
            with pytest.raises(Exception, match="payload"):
                await got.read()
        assert served.ends == [False, False]


async def test_who_asks_after_the_end_is_told_at_once() -> None:
    told: list[bool] = []

    async def tell(written: bool) -> None:
        told.append(written)

    end = ResponseEnd()
    await end.reach(written=True)
    await end.call(tell)
    assert told == [True]


async def test_one_that_fails_at_the_end_keeps_no_other_from_knowing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[bool] = []

    async def fail(written: bool) -> None:
        raise RuntimeError("broken")

    async def tell(written: bool) -> None:
        told.append(written)

    end = ResponseEnd()
    await end.call(fail)
    await end.call(tell)
    await end.reach(written=False)
    assert told == [False]
    assert "failed at the end of a response" in caplog.text

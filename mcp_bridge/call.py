"""One request of an MCP client, as the tools and the resources see it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp.server.context import ServerRequestContext
from starlette.requests import Request

from agent_hub.core.asking import Question
from agent_hub.core.clock import Clock
from agent_hub.core.message import is_traceparent
from agent_hub.core.principal import Principal
from agent_hub.core.taking import Taking
from agent_hub.core.wakeup import Wakeup

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 15.0

Context = ServerRequestContext[Any, Request]


def caller(context: Context) -> Principal:
    """Who calls, as the mounting put it into the scope."""
    found = _request(context).scope["caller"]
    assert isinstance(found, Principal)
    return found


def request_id(context: Context) -> str:
    return str(_request(context).scope["request_id"])


def own_url(context: Context) -> str:
    """The address by which the client knows this door."""
    url = _request(context).url
    return f"{url.scheme}://{url.netloc}/mcp/"


def traceparent(context: Context) -> str | None:
    given = _request(context).headers.get("traceparent")
    return given if given is not None and is_traceparent(given) else None


def _request(context: Context) -> Request:
    assert context.request is not None  # only streamable HTTP is served
    return context.request


@asynccontextmanager
async def until_written(context: Context, held: Taking | Question) -> AsyncIterator[None]:
    """Keep what the answer hands over until it is known whether the answer was written.

    The block makes the answer. It is written after the tool has returned, so what is held is let
    go at the end of the response: as taken if that was written whole. When the block fails or is
    cancelled it is let go at once.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(held)
        yield
        rest = stack.pop_all()

        async def settle(written: bool) -> None:
            held.taken = written
            await rest.aclose()

        await _request(context).scope["on_response_end"](settle)


def progress_token(context: Context) -> str | int | None:
    return None if context.meta is None else context.meta.get("progress_token")


@asynccontextmanager
async def telling_progress(
    context: Context, clock: Clock, total: float, asked: str
) -> AsyncIterator[None]:
    """While the block runs, tell a client that gave a token every PROGRESS_SECONDS that it does.

    `total` is in seconds, as is the progress.
    """
    task = asyncio.ensure_future(_tell_progress(context, clock, total, asked))
    try:
        yield
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        if isinstance(ended, Exception):  # the block is none the worse
            log.error("progress could not be told", exc_info=ended)


async def _tell_progress(context: Context, clock: Clock, total: float, asked: str) -> None:
    token = progress_token(context)
    passed = 0.0
    while token is not None:
        with Wakeup(clock, PROGRESS_SECONDS) as alarm:
            await alarm.wait()
        passed += PROGRESS_SECONDS
        message = f"waiting for {asked}"
        await context.session.send_progress_notification(
            token, passed, total, message, related_request_id=str(context.request_id)
        )

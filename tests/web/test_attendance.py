"""What a reply's write does to a connection that ends under it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from agent_hub.web.attendance import Attendance
from agent_hub.web.reply import Reply
from tests.clock import ManualClock


class Transport:
    """As uvloop's: whoever touches a closed one gets a RuntimeError."""

    def __init__(self) -> None:
        self.closed = False
        self.limits: list[int | None] = []

    def is_closing(self) -> bool:
        return self.closed

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        if self.closed:
            raise RuntimeError("the handler is closed")
        self.limits.append(high)

    def write(self, data: bytes) -> None:
        """All of it."""


async def write(clock: ManualClock, transport: Transport, *, cut: bool) -> bool:
    """Write an answer to a client that stays, or goes in the middle of it."""

    async def drain() -> None:
        if cut:
            transport.closed = True
            raise ConnectionResetError("cut")

    writer = SimpleNamespace(drain=drain)
    request = SimpleNamespace(
        transport=transport, writer=writer, method="GET", keep_alive=True, version=(1, 1)
    )
    reply = Reply(200, b"{}")
    return await Attendance(clock).write(cast(web.Request, cast(Any, request)), reply)


async def test_an_answer_is_written_with_nothing_left_in_the_process(clock: ManualClock) -> None:
    transport = Transport()
    assert await write(clock, transport, cut=False)
    assert transport.limits == [0, None]


@pytest.mark.parametrize("before", [False, True])
async def test_a_client_that_goes_is_no_failure_of_the_hub(
    clock: ManualClock, before: bool
) -> None:
    transport = Transport()
    transport.closed = before
    assert not await write(clock, transport, cut=True)

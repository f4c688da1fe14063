"""A connection that is of no use any more ends, whatever it was for."""

from __future__ import annotations

import socket

import pytest

from agent_hub.web import connection
from tests.server import RunningHub
from tests.web.caller import MESSAGES, Caller
from tests.web.raw import connected
from tests.web.waiting import until


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such limit")
async def test_an_answer_that_its_client_does_not_read_is_given_up(
    served: RunningHub, rest: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "USER_TIMEOUT_MS", 100)
    for number in range(20):
        await rest.send(f"sender-{number}", "slow", "x" * 250_000)
    async with connected(served, holding=4096) as idle:
        await until(lambda: served.open_connections == 2)
        await idle.request("GET", f"{MESSAGES}?agent_id=slow")
        await until(lambda: served.open_connections == 1)

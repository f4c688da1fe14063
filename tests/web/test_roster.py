"""Who is told of comings and goings does not hang on who does not listen."""

from __future__ import annotations

import asyncio

from agent_hub.core.agent import Agent, Status
from agent_hub.core.metrics import Metrics
from agent_hub.core.presence import PresenceEvent
from agent_hub.web.roster import Roster
from tests.clock import ManualClock, settle


class Socket:
    """An open socket that takes a frame only while it is `free`."""

    close_code = 1000

    def __init__(self, agent_id: str, *, free: bool = True) -> None:
        self.agent_id = agent_id
        self.heard: list[bytes] = []
        self._free = asyncio.Event()
        if free:
            self._free.set()

    async def announce(self, frame: bytes) -> None:
        await self._free.wait()
        self.heard.append(frame)

    async def beat(self, silent_for: float) -> None: ...


async def test_a_socket_that_takes_nothing_holds_up_no_other(clock: ManualClock) -> None:
    roster = Roster(clock, Metrics())
    stuck, listening = Socket("stuck", free=False), Socket("listening")
    for one in (stuck, listening):
        roster.add(one, "all")
    news = [(Agent(agent_id="beta"), Status.ACTIVE)]
    roster.announce([PresenceEvent("agent.joined", news), PresenceEvent("agent.status", news)])
    await settle()
    assert len(listening.heard) == 2
    assert b"agent.joined" in listening.heard[0]
    assert b"agent.status" in listening.heard[1]

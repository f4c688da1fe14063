"""Readers by REST: they take messages, write them down, and acknowledge them by hand."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.acceptance.load.hubs import Hubs
from tests.acceptance.load.records import Recorder

WAIT_SECONDS = 2
LEASE_SECONDS = 5
"""What a killed hub or a lost answer keeps from its reader comes back after this."""


class Reader:
    """Takes and acks until `stopping`, and then on until its inbox is empty."""

    def __init__(self, number: int, hubs: Hubs, recorder: Recorder) -> None:
        self._name = f"reader-{number}"
        self._hubs = hubs
        self._recorder = recorder

    async def run(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._take(WAIT_SECONDS)
        while await self._left():
            await self._take(0)

    async def _take(self, wait: float) -> None:
        body = {"agent_id": self._name, "limit": 50, "ack": "manual", "lease": LEASE_SECONDS}
        path = "/api/v1/messages/receive"
        answer = await self._hubs.call("POST", path, json={**body, "wait": wait})
        ids = [record_read(self._recorder, message) for message in answer.body["messages"]]
        if ids:
            body = {"agent_id": self._name, "ids": ids}
            await self._hubs.call("POST", "/api/v1/messages/ack", json=body)
            self._recorder.write("acked", reader=self._name, ids=ids)

    async def _left(self) -> int:
        """How many messages the hub still owes."""
        params = {"agent_id": self._name, "limit": 1}
        answer = await self._hubs.call("GET", "/api/v1/messages", params=params)
        return int(answer.body["total"])


def record_read(recorder: Recorder, message: dict[str, Any]) -> str:
    """Write down what was handed over; its id."""
    told = {key: message[key] for key in ("id", "to", "seq", "text", "attempt")}
    recorder.write("read", **told, epoch=message["cursor"].partition(":")[0])
    return str(message["id"])

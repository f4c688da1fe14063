"""Senders: each sends one message after the other, and repeats one until it is answered."""

from __future__ import annotations

import asyncio
import time

from tests.acceptance.load.hubs import Hubs
from tests.acceptance.load.records import Recorder

HOUR = 3_600


class Sender:
    """Sends to all readers in turn, `pause` seconds apart, until `stopping`.

    Each message has a key of its own, so that no try is taken for another message.
    """

    def __init__(
        self, number: int, readers: int, hubs: Hubs, recorder: Recorder, pause: float
    ) -> None:
        self._name = f"sender-{number}"
        self._number = number
        self._readers = readers
        self._hubs = hubs
        self._recorder = recorder
        self._pause = pause

    async def run(self, stopping: asyncio.Event) -> None:
        count = 0
        while not stopping.is_set():
            await self._send(f"{self._number}:{count}", (self._number + count) % self._readers)
            count += 1
            if self._pause:
                await asyncio.sleep(self._pause)

    async def _send(self, text: str, reader: int) -> None:
        to, began = f"reader-{reader}", time.time()
        answer = await self._hubs.call(
            "POST",
            "/api/v1/messages",
            json={"from": self._name, "to": to, "text": text, "ttl": HOUR},
            headers={"Idempotency-Key": text},
        )
        told = {"id": answer.body["message_id"], "durability": answer.body["durability"]}
        place = {"to": to, "epoch": answer.body["epoch"], "seq": answer.body["seq"]}
        self._recorder.write("accepted", **told, **place, text=text, began=began)

"""Readers by WebSocket, with receipts by ping and pong or with acks by hand."""

from __future__ import annotations

import asyncio
import json
import time

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType

from tests.acceptance.load.hubs import Hubs
from tests.acceptance.load.readers import record_read
from tests.acceptance.load.records import Recorder


class SocketReader:
    """Reads one socket until `stopping`, and opens another only when the hub closed that one.

    It ends without reading what is left: a test that stops it has seen all it wants.
    """

    def __init__(self, number: int, hubs: Hubs, recorder: Recorder, *, manual: bool) -> None:
        self._name = f"reader-{number}"
        self._hubs = hubs
        self._recorder = recorder
        self._manual = manual

    async def run(self, stopping: asyncio.Event) -> None:
        stopped = asyncio.ensure_future(stopping.wait())
        while not stopping.is_set():
            reading = asyncio.ensure_future(self._read())
            await asyncio.wait([stopped, reading], return_when=asyncio.FIRST_COMPLETED)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if reading.done() and not reading.cancelled():
                reading.result()
        stopped.cancel()

    async def _read(self) -> None:
        """The life of one socket."""
        url, began = f"{self._hubs.url}/ws/{self._name}", time.time()
        query = {"ack": "manual" if self._manual else "auto", "events": "none"}
        code = "closed"
        try:
            async with self._hubs.session.ws_connect(url, params=query) as socket:
                await self._take_all(socket)
        except (ClientError, OSError, TimeoutError) as error:
            code = type(error).__name__
        await self._hubs.failed(code, began)

    async def _take_all(self, socket: ClientWebSocketResponse) -> None:
        async for received in socket:
            if received.type is not WSMsgType.TEXT:
                continue
            frame = json.loads(received.data)
            if "seq" in frame:
                await self._take(socket, record_read(self._recorder, frame))
            elif frame["type"] == "hub.welcome":
                self._recorder.write("opened", reader=self._name)

    async def _take(self, socket: ClientWebSocketResponse, message_id: str) -> None:
        if self._manual:
            await socket.send_json({"type": "hub.ack", "ids": [message_id]})

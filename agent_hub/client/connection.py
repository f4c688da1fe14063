"""One WebSocket to the hub, from its opening to its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType

from agent_hub.client.answers import decode
from agent_hub.client.pace import Pace

CLOSE_SECONDS = 5.0


class Connection:
    """Reads and writes frames; knows nothing of what they mean."""

    def __init__(self, socket: ClientWebSocketResponse, pace: Pace) -> None:
        self._socket = socket
        self._pace = pace
        self._beating: asyncio.Task[None] | None = None
        self.close_code: int | None = None
        self.close_reason = ""

    async def receive(self) -> dict[str, Any] | None:
        """The next frame, or None when the connection has ended. Pings are answered meanwhile."""
        try:
            # The limit starts anew with each frame of any kind, the hub's pings included.
            frame = await self._socket.receive(timeout=self._pace.silence)
        except (ConnectionError, TimeoutError):
            return None
        if frame.type is WSMsgType.TEXT:
            return decode(frame.data, dict[str, Any])
        self.close_code, self.close_reason = self._socket.close_code, str(frame.extra or "")
        return None

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Write a frame. On a lost connection it is dropped: `receive` reports the end."""
        with suppress(ConnectionError):
            await self._socket.send_str(json.dumps(frame))

    def beat(self, seconds: float) -> None:
        """Send a heartbeat every so many seconds from now on."""
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat(seconds))

    async def _beat(self, seconds: float) -> None:
        while True:
            await self._pace.sleep(seconds)
            await self.send({"type": "heartbeat"})

    async def close(self) -> None:
        """Close, and wait a little for the hub's consent: it has then read all that was sent."""
        if self._beating is not None:
            self._beating.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._socket.close()

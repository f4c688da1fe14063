"""Messages read from the socket and not yet asked for."""

from __future__ import annotations

import asyncio
from collections import deque

from agent_hub.client.answers import Message


class Ended(Exception):
    """Nothing more will come."""


class Buffer:
    """A bounded queue between the task that reads the socket and those who handle messages."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._messages: deque[Message] = deque()
        self._ended = False
        self._changed = asyncio.Event()

    async def put(self, message: Message) -> None:
        """Wait for room. After the end a message is let go: the hub still owes it."""
        while len(self._messages) >= self._room and not self._ended:
            await self._change()
        if not self._ended:
            self._messages.append(message)
            self._changed.set()

    async def get(self) -> Message:
        """The oldest message, waited for; raises Ended. Cancelling it loses nothing."""
        while not self._messages:
            if self._ended:
                raise Ended
            await self._change()
        self._changed.set()
        return self._messages.popleft()

    def clear(self) -> list[Message]:
        """Take out and return all that waits."""
        messages = list(self._messages)
        self._messages.clear()
        self._changed.set()
        return messages

    def end(self) -> None:
        """Let go of what waits, and of all that comes."""
        self._messages.clear()
        self._ended = True
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

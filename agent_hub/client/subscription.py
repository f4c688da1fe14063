"""An open stream of deliveries that outlives its connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from agent_hub.client.answers import Control, Message, convert
from agent_hub.client.buffer import Buffer, Ended
from agent_hub.client.connection import Connection
from agent_hub.client.delivery import Delivery
from agent_hub.client.errors import BAD_CREDENTIAL, FINAL_CLOSE_CODES, Disconnected, HubError
from agent_hub.client.handed import Handed, Position
from agent_hub.client.pace import Backoff, Pace

logger = logging.getLogger("agent_hub.client")

# A hub sends at most so many kept messages again beside those in flight. Room for them too means
# that a slow handler never stops the reading, and with it the answers to the hub's pings.
KEPT = 200


class Subscription(AsyncIterator[Delivery]):
    """`async for delivery in subscription`: each message once, in order, across reconnects.

    The socket is read in a task of its own, so that a handler may think for minutes. Iteration
    ends when it is closed, and raises Disconnected or HubError when the hub ended it for good.
    What was handed out and neither acked nor released goes back to the hub at the close.
    """

    def __init__(
        self,
        connect: Callable[[str | None], Awaitable[Connection]],
        *,
        position: Position,
        handed: Handed,
        max_in_flight: int,
        pace: Pace,
        renews: bool,
    ) -> None:
        self._connect = connect
        self._position = position
        self._handed = handed
        self._pace = pace
        self._renews = renews
        self._backoff = Backoff(pace)
        self._buffer = Buffer(max_in_flight + KEPT)
        self._connection: Connection | None = None
        self._told: float | None = None  # by the hub: when to come back, in milliseconds
        self._has_warned = False
        self._gap = False
        self._closing = False
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._buffer.end())

    @property
    def ended(self) -> bool:
        return self._closing or self._task.done()

    async def __anext__(self) -> Delivery:
        try:
            message = await self._buffer.get()
        except Ended:
            if not self._closing:
                self._task.result()  # raises what ended it
            raise StopAsyncIteration from None
        self._position.advance(message)
        gap, self._gap = self._gap, False
        return Delivery(message, self, gap)

    async def ack(self, message_id: str) -> None:
        """Settle it. Without a connection the hub hears it when it sends the message again."""
        self._handed.settle(message_id)
        await self._send("hub.ack", message_id)

    async def release(self, message_id: str) -> None:
        """Give it back. Without a connection the hub has it back already."""
        self._handed.forget(message_id)
        await self._send("hub.release", message_id)

    async def close(self) -> None:
        """End the stream; acks already sent reach the hub first."""
        self._closing = True
        self._buffer.end()
        try:
            if self._connection is None:
                self._task.cancel()
            else:
                await self._connection.close()
            await asyncio.wait({self._task})
        finally:
            self._task.cancel()  # it goes on only if this close was cancelled
            self._handed.forget_held()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self) -> None:
        while True:
            began = self._pace.now()
            error = await self._attempt()
            if self._closing:
                return
            if self._pace.now() - began > self._pace.longest:
                self._backoff.reset()  # it was a good connection; this is a new trouble
            await self._pause(error)

    async def _attempt(self) -> HubError | None:
        """Live through one connection; a failure that may pass is returned."""
        try:
            await self._live(await self._connect(self._position.cursor))
        except HubError as error:
            if not error.retryable:
                raise
            return error
        return None

    async def _pause(self, error: HubError | None) -> None:
        pause = self._backoff.next(error) if self._told is None else self._told / 1000
        self._told = None
        # Loud once: whoever began without a hub, or with a wrong address, would wait and not know.
        is_news = error is not None and not self._has_warned
        self._has_warned |= is_news
        level = logging.WARNING if is_news else logging.INFO
        why = error or "it ended"
        logger.log(level, "no connection to the hub; next attempt in %.1f s (%s)", pause, why)
        await self._pace.sleep(pause)

    async def _live(self, connection: Connection) -> None:
        self._connection = connection
        try:
            while (frame := await connection.receive()) is not None:
                await self._take(frame)
        finally:
            # What nobody was handed is the hub's again, and may by now be another reader's.
            for message in self._buffer.clear():
                self._handed.forget(message.id)
            await connection.close()
            self._connection = None
        code = connection.close_code
        # If its token can be renewed, a stream whose token has ended is told by the next upgrade.
        passes = self._closing or (self._renews and code == BAD_CREDENTIAL)
        if code in FINAL_CLOSE_CODES and not passes:
            raise Disconnected(code, connection.close_reason)

    async def _take(self, frame: dict[str, Any]) -> None:
        if "id" in frame:
            await self._take_message(convert(frame, Message))
        else:
            self._take_control(convert(frame, Control))

    def _take_control(self, control: Control) -> None:
        # Other types, presence among them, are not for this client.
        if control.type == "hub.welcome":
            self._take_welcome(control)
        elif control.type == "hub.notice":
            self._told = control.reconnect_after_ms
        elif control.type == "hub.error":
            logger.warning("the hub refused a frame: %s", control.problem)

    def _take_welcome(self, welcome: Control) -> None:
        self._has_warned = False
        if self._connection is not None:
            self._connection.beat(welcome.heartbeat_seconds)
        if self._position.cursor is not None and not welcome.recovered:
            logger.warning("messages since the last one seen may be missing")
            self._position.restart()
            self._gap = True

    async def _take_message(self, message: Message) -> None:
        self._backoff.reset()
        if self._handed.take(message.id):
            await self._buffer.put(message)
        elif self._handed.is_settled(message.id):
            await self.ack(message.id)  # it came again because the first ack was lost

    async def _send(self, kind: str, message_id: str) -> None:
        if self._connection is not None:
            await self._connection.send({"type": kind, "ids": [message_id]})

"""Messages taken by one call, and whether they reached the one who called."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from secrets import token_hex

from msgspec import Struct

from agent_hub.core.message import Cursor, Delivery
from agent_hub.core.owed import Owed
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.tally import Tally


class Leased(Struct, kw_only=True):
    """What was taken. `cursor` is the position after it, None for an unknown inbox."""

    lease_id: str
    deliveries: list[Delivery]
    cursor: Cursor | None


class Taking:
    """One call that takes messages, from the wait for them to the proof that they were written.

    A context manager. Set `taken` once the answer was written: without `seconds` the messages
    are then acked, with it they stay leased for so long. Otherwise, however the call ended, they
    are ready again in their place, without blame.
    """

    def __init__(
        self,
        backend: QueueBackend,
        agent_id: str,
        *,
        limit: int,
        max_bytes: int,
        seconds: float | None,
        until_found: Callable[
            [Callable[[], Awaitable[list[Delivery]]]], Awaitable[list[Delivery] | None]
        ],
        via: str,
        tally: Tally,
        owed: Owed,
    ) -> None:
        self.taken = False
        self._backend = backend
        self._agent_id = agent_id
        self._limit = limit
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._until_found = until_found
        self._via = via
        self._tally = tally
        self._owed = owed
        self._lease_id = token_hex(8)
        self._deliveries: list[Delivery] = []

    async def leased(self) -> Leased:
        """The messages, as soon as there are any; none when the time to wait is over."""
        self._deliveries = await self._until_found(self._lease) or []
        if self._deliveries:
            cursor: Cursor | None = self._deliveries[-1].cursor
        else:
            cursor = (await self._backend.look(self._agent_id, None, 0)).cursor
        return Leased(lease_id=self._lease_id, deliveries=self._deliveries, cursor=cursor)

    async def _lease(self) -> list[Delivery]:
        return await self._backend.lease(
            self._agent_id,
            self._lease_id,
            limit=self._limit,
            max_bytes=self._max_bytes,
            seconds=self._seconds,
        )

    async def __aenter__(self) -> Taking:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        if not self.taken:
            # By lease, not by message: the call may have been cut off after the store had leased.
            await self._owed.tell(self._release)
            return
        self._tally.delivered(self._via, self._deliveries)
        if self._seconds is None and self._deliveries:
            await self._owed.tell(self._ack)

    async def _release(self) -> None:
        await self._backend.release(self._agent_id, self._lease_id, None, failure=False)

    async def _ack(self) -> None:
        message_ids = [delivery.message.id for delivery in self._deliveries]
        acked = await self._backend.ack(self._agent_id, message_ids, mode="auto")
        self._tally.acked("auto", acked)

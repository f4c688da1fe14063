"""The open streams of deliveries of this process, at most one for each agent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from secrets import token_hex

from agent_hub.core.clock import Clock
from agent_hub.core.message import Cursor
from agent_hub.core.metrics import Metrics
from agent_hub.core.owed import Owed
from agent_hub.core.principal import Principal
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.subscription import Subscription
from agent_hub.core.tally import Tally
from agent_hub.core.vigil import Vigil

RENEWED_AT_ONCE = 256


class Streams:
    """Opens subscriptions, lets a newer one take over, and ends them all with the hub."""

    def __init__(
        self,
        backend: QueueBackend,
        clock: Clock,
        metrics: Metrics,
        tally: Tally,
        owed: Owed,
        vigil: Vigil,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._metrics = metrics
        self._tally = tally
        self._owed = owed
        self._vigil = vigil
        self._open: dict[str, Subscription] = {}
        self._ended = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def agent_ids(self) -> list[str]:
        return list(self._open)

    async def open(
        self,
        caller: Principal,
        agent_id: str,
        *,
        receipts: bool,
        max_in_flight: int,
        since: Cursor | None,
    ) -> Subscription:
        """A new stream; what the older one of this agent had in flight is ready again first."""
        older = self._open.get(agent_id)
        if older is not None:
            await older.replace()
        subscription = Subscription(
            agent_id,
            self._backend,
            self._clock,
            self._metrics,
            self._tally,
            self._owed,
            via=caller.via,
            receipts=receipts,
            max_in_flight=max_in_flight,
            since=since,
            on_close=self._closed,
        )
        self._open[agent_id] = subscription
        subscription.credential = self._vigil.over(caller, subscription.end)
        try:
            await subscription.start()
            if self._ended:  # while the store was asked
                subscription.end()
        except BaseException:
            await subscription.close()
            raise
        return subscription

    def _closed(self, subscription: Subscription) -> None:
        if subscription.credential is not None:
            subscription.credential.close()
        if self._open.get(subscription.agent_id) is subscription:
            del self._open[subscription.agent_id]

    async def acked_elsewhere(self, agent_id: str, message_ids: Sequence[str]) -> None:
        """Give the agent's stream its credit back for what was acked at another door."""
        subscription = self._open.get(agent_id)
        if subscription is not None:
            await subscription.acked_elsewhere(message_ids)

    async def renew(self) -> None:
        """Keep the places of these streams."""
        subscriptions = list(self._open.values())
        for start in range(0, len(subscriptions), RENEWED_AT_ONCE):
            some = subscriptions[start : start + RENEWED_AT_ONCE]
            await asyncio.gather(*(subscription.renew() for subscription in some))

    async def hold(self) -> None:
        """Keep the answers in flight on these streams from running out."""
        for subscription in list(self._open.values()):
            await subscription.hold()

    async def dismiss(self, agent_id: str) -> None:
        """End the stream of an agent that is registered no more, on whatever node it is."""
        subscription = self._open.get(agent_id)
        if subscription is not None:
            subscription.dismissed = True
        nobody = token_hex(8)
        await self._backend.occupy(agent_id, nobody, lambda: None)
        await self._backend.vacate(agent_id, nobody)

    def end(self) -> None:
        """Let every stream end as if its reader had left."""
        self._ended = True
        for subscription in list(self._open.values()):
            subscription.end()

    async def close(self) -> None:
        """Give back all that is in flight."""
        for subscription in list(self._open.values()):
            await subscription.close()

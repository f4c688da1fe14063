"""Short ways to say what a test asks of a hub. `beta` writes to `alpha`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from agent_hub.core.agent import Agent
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.hub import Hub
from agent_hub.core.message import ALL, Delivery, Draft
from agent_hub.core.metrics import Metrics
from agent_hub.core.principal import Principal
from agent_hub.core.sending import Broadcast, Sent
from agent_hub.core.taking import Leased
from tests.clock import settle

T = TypeVar("T")

ANYONE = Principal(via="rest", peer="127.0.0.1")
"""Who calls a hub on loopback: it may act as any agent."""


def draft(text: str = "hello", *, sender: str = "beta", to: str = "alpha", **more: Any) -> Draft:
    return Draft(sender=sender, to=to, text=text, **more)


async def send(hub: Hub, text: str = "hello", **fields: Any) -> Sent:
    sent = await hub.send(ANYONE, draft(text, **fields))
    assert isinstance(sent, Sent)
    return sent


async def broadcast(hub: Hub, text: str = "to all", **fields: Any) -> Broadcast:
    sent = await hub.send(ANYONE, draft(text, to=ALL, **fields))
    assert isinstance(sent, Broadcast)
    return sent


async def register(hub: Hub, *agent_ids: str) -> None:
    for agent_id in agent_ids:
        await hub.register(ANYONE, Agent(agent_id=agent_id))


async def receive(hub: Hub, agent_id: str = "alpha", **options: Any) -> Leased:
    """Take, and say that it was written."""
    async with await hub.receive(ANYONE, agent_id, **options) as taking:
        leased = await taking.leased()
        taking.taken = True
        return leased


async def soon(call: Awaitable[T]) -> asyncio.Task[T]:
    """Begin a call that will wait."""
    task = asyncio.ensure_future(call)
    await settle()
    assert isinstance(task, asyncio.Task)
    return task


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


def texts(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.message.text for delivery in deliveries]


class Counted(Metrics):
    """Remembers what was counted, as words."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.seconds: list[float] = []

    def rejected(self, reason: str) -> None:
        self.counts[f"rejected {reason}"] += 1

    def delivered(self, via: str, redelivered: bool, seconds: float) -> None:
        self.counts[f"{'redelivered' if redelivered else 'delivered'} {via}"] += 1
        self.seconds.append(seconds)

    def acked(self, mode: str, seconds: float) -> None:
        self.counts[f"acked {mode}"] += 1
        self.seconds.append(seconds)

    def rate_limited(self) -> None:
        self.counts["rate limited"] += 1

    def wait_opened(self) -> None:
        self.counts["waits"] += 1

    def wait_closed(self, outcome: str) -> None:
        self.counts["waits"] -= 1
        self.counts[f"wait {outcome}"] += 1

    def woken(self, source: str) -> None:
        self.counts[f"woken {source}"] += 1


async def away(*_: object, **__: object) -> None:
    """In the place of a call of a store: nobody is there."""
    raise BackendUnavailable("away")


class Deaf:
    """A watch that no hint reaches."""

    def close(self) -> None: ...

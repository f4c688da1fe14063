"""One code, shown to two nodes at the same moment: one of the two stole it, so neither keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from aiohttp import ClientResponse

from agent_hub.auth.store import CredentialStore, Entry, Kind
from tests.auth.stores import STORES
from tests.clock import ManualClock
from tests.oauth.client import HandClient
from tests.oauth.hubs import sign_in_hub
from tests.oauth.site import Site

PUBLIC = "http://localhost:1"
STEPS = range(1, 5)
"""An exchange asks the store four or five times for what hangs on its code."""

T = TypeVar("T")


class StepByStep(CredentialStore):
    """A node's store, which may be held: then each call about a code waits until it is let."""

    def __init__(self, store: CredentialStore) -> None:
        self._store = store
        self.is_held = False
        self._calls: asyncio.Queue[tuple[asyncio.Event, asyncio.Event]] = asyncio.Queue()

    async def _one(self, kind: Kind, call: Callable[[], Awaitable[T]]) -> T:
        if not self.is_held or kind not in (Kind.CODE, Kind.SPENT, Kind.SESSION):
            return await call()
        may_begin, is_over = asyncio.Event(), asyncio.Event()
        self._calls.put_nowait((may_begin, is_over))
        await may_begin.wait()
        try:
            return await call()
        finally:
            is_over.set()

    async def step(self, exchange: asyncio.Task[ClientResponse]) -> None:
        """Let one call of this exchange happen, if it makes another."""
        coming = asyncio.create_task(self._calls.get())
        await asyncio.wait({coming, exchange}, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            return
        may_begin, is_over = coming.result()
        may_begin.set()
        await is_over.wait()

    async def open(self) -> None:
        await self._store.open()

    async def close(self) -> None:
        await self._store.close()

    async def get_many(self, kind: Kind, keys: Collection[str]) -> Mapping[str, bytes]:
        return await self._one(kind, lambda: self._store.get_many(kind, keys))

    async def put(
        self,
        kind: Kind,
        key: str,
        value: bytes,
        *,
        expires_at: float | None = None,
        only_new: bool = False,
        only_known: bool = False,
    ) -> bool:
        return await self._one(
            kind,
            lambda: self._store.put(
                kind, key, value, expires_at=expires_at, only_new=only_new, only_known=only_known
            ),
        )

    async def delete(self, kind: Kind, key: str) -> bool:
        return await self._one(kind, lambda: self._store.delete(kind, key))

    async def entries(self, kind: Kind) -> list[Entry]:
        return await self._one(kind, lambda: self._store.entries(kind))


class Node:
    def __init__(self, store: StepByStep, client: HandClient) -> None:
        self.store = store
        self.client = client

    def begin(self, code: str) -> asyncio.Task[ClientResponse]:
        self.store.is_held = True
        return asyncio.create_task(self.client.exchange(code))

    async def end(self, exchange: asyncio.Task[ClientResponse]) -> ClientResponse:
        while not exchange.done():
            await self.store.step(exchange)
        self.store.is_held = False
        return await exchange


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def nodes(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock, site: Site
) -> AsyncIterator[list[Node]]:
    stores = [STORES[str(request.param)](tmp_path, clock.time) for _ in range(2)]
    if request.param == "memory":  # of one process
        stores[1] = stores[0]
    async with AsyncExitStack() as stack:
        held = [StepByStep(store) for store in stores]
        hubs = [
            await stack.enter_async_context(sign_in_hub(clock, site, store, public_url=PUBLIC))
            for store in held
        ]
        yield [Node(store, HandClient(hub)) for store, hub in zip(held, hubs, strict=True)]


@pytest.mark.parametrize("steps", STEPS)
async def test_of_two_who_show_a_code_at_once_neither_keeps_what_it_began(
    nodes: list[Node], clock: ManualClock, steps: int
) -> None:
    one, other = nodes
    for steps_of_the_other in STEPS:
        clock.pass_by(60)  # so many requests are too many for one network otherwise
        code = await one.client.code()
        first, second = one.begin(code), other.begin(code)
        for _ in range(steps):
            await one.store.step(first)
        for _ in range(steps_of_the_other):
            await other.store.step(second)
        responses = [await one.end(first), await other.end(second)]

        assert sorted(response.status for response in responses) == [200, 400]
        [given] = [await response.json() for response in responses if response.status == 200]
        clock.pass_by(1)
        for node in nodes:
            assert await node.client.call(given["access_token"]) == 401
        assert (await one.client.refresh(given["refresh_token"])).status == 400
        assert await one.client.hub.sessions.all() == []

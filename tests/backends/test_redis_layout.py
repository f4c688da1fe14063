"""Which layout the keys in Redis have: hubs of other versions must not read them wrongly."""

from __future__ import annotations

import asyncio

import pytest

from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.limits import Limits
from agent_hub.queue_backends.redis.backend import RedisBackend
from tests.backends.mail import send
from tests.backends.redis_stores import TemporaryCluster, TemporaryRedis
from tests.clock import ManualClock
from tests.redis_server import redis_server

NEWER = b"2"


async def layout_of(node: TemporaryRedis) -> bytes | None:
    (layout,) = await node._store.ask((("GET", node._store.keys.hub("layout")),))
    found: bytes | None = layout
    return found


async def set_layout(node: TemporaryRedis, layout: bytes) -> None:
    await node._store.ask((("SET", node._store.keys.hub("layout"), layout),))


@pytest.mark.parametrize("kind", [TemporaryRedis, TemporaryCluster])
async def test_hubs_that_start_at_once_agree(
    clock: ManualClock, kind: type[TemporaryRedis]
) -> None:
    first = kind(clock, Limits())
    nodes = [first, *(first.another() for _ in range(9))]
    await asyncio.gather(*(node.open() for node in nodes))
    assert await layout_of(first) == b"1"
    await first._store.ask((("UNLINK", first._store.keys.hub("layout")),))
    said = (
        node._store.hub_call("layout", layout)
        for node, layout in zip(nodes, [b"1", NEWER] * 5, strict=True)
    )
    assert len({found for (found,) in await asyncio.gather(*said)}) == 1
    for node in nodes:
        await node.close()


async def test_newer_keys_are_refused_in_one_line_and_left_as_they_are(clock: ManualClock) -> None:
    hub = TemporaryRedis(clock, Limits())
    await hub.open()
    await send(hub, "a")
    await set_layout(hub, NEWER)
    older = hub.another()
    with pytest.raises(BackendUnavailable) as refused:
        await older.open()
    [line] = refused.value.detail.splitlines()
    assert line.endswith(
        "have layout 2, and this hub knows 1; start the newer hub, or take another Redis"
    )
    assert await layout_of(hub) == NEWER
    assert (await hub.totals()).accepted == 1
    await hub.close()


async def test_a_layout_that_a_flush_took_is_written_again(clock: ManualClock) -> None:
    hub = TemporaryRedis(clock, Limits())
    await hub.open()
    await hub._store.ask((("UNLINK", hub._store.keys.hub("layout")),))
    await hub.sweep()
    assert await layout_of(hub) == b"1"
    await hub.close()


async def test_a_hub_starts_on_a_full_redis_that_no_hub_has_used_before() -> None:
    with redis_server() as server:
        with server.client() as client:
            client.config_set("maxmemory", 1)
        backend = RedisBackend(server.url)
        await backend.open()
        await backend.close()

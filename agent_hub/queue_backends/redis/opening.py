"""What has to be known of a Redis before the hub relies on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from agent_hub.redis_way import is_cluster, tls_failure
from agent_hub.redis_way.cluster import ClusterLink
from agent_hub.redis_way.errors import broken, unavailable
from agent_hub.redis_way.link import (
    Link,
    NodeLink,
    pool_of,
)

log = logging.getLogger(__name__)

OLDEST = (6, 2)
OPEN_SECONDS = 10.0
"""For a Redis that is busy while the hub starts."""


class Opened(Struct):
    """A way to Redis, and what an accepted message survives there."""

    link: Link
    durability: str


async def open_link(url: str, place: str, scripts: Sequence[str], channel: str) -> Opened:
    """Connect, look, and say what was found. Raises BackendUnavailable with one line.

    `channel` is one of those that hints are given on.
    """
    node = NodeLink(pool_of(url))
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            about = await node.about("server", "persistence", "memory")
            check_version(about, place)
            durability = await _durability(node, about)
            await _warn_of_eviction(node, about)
            await _try_hints(node, url, place, channel)
        if is_cluster(about):
            link: Link = ClusterLink(url)
            await node.close()
        else:
            await node.exchange([[("SCRIPT", "LOAD", text) for text in scripts]])
            link = node
    except (RedisError, OSError) as error:
        await node.close()
        failed = broken(f"Redis at {place}", error)
        if tls_failure(error) is not None:
            raise failed from None
        raise unavailable(
            f"{failed.detail}; is it running, and is the URL of --backend right, also about TLS?"
        ) from None
    except BaseException:
        await node.close()
        raise
    log.info("messages are kept in %s at %s (%s)", _name_of(about), place, durability)
    return Opened(link, durability)


def _name_of(about: dict[str, str]) -> str:
    """Valkey says of itself too which Redis it is like."""
    like = f"Redis {about['redis_version']}"
    return f"Valkey {about['valkey_version']}" if "valkey_version" in about else like


def check_version(about: dict[str, str], place: str) -> None:
    version = about.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        raise unavailable(f"Redis at {place} is version {version}; the hub needs 6.2 or newer")


async def _try_hints(node: NodeLink, url: str, place: str, channel: str) -> None:
    """Each transition gives hints: better no hub than one that is always late."""
    listener = NodeLink(pool_of(url))
    try:
        for link, words in (
            (node, ("PUBLISH", channel, "")),
            (listener, ("SUBSCRIBE", channel)),
        ):
            ((answer,),) = await link.exchange([[words]])
            if isinstance(answer, NoPermissionError):
                channels = f"&{channel[: channel.index('{')]}*"
                raise unavailable(
                    f"Redis at {place}: its user may not {words[0]} to {channel}; allow it the "
                    f"commands of pub/sub and the hub's channels ({channels})"
                )
            if isinstance(answer, ResponseError):
                raise answer
    finally:
        await listener.close()


async def _setting(node: NodeLink, name: str) -> str | None:
    """None where nobody may ask, as with many managed services."""
    ((answer,),) = await node.exchange([[("CONFIG", "GET", name)]])
    if isinstance(answer, ResponseError) or not answer:
        return None
    value: bytes = answer[1]
    return value.decode()


async def _durability(node: NodeLink, about: dict[str, Any]) -> str:
    if about.get("aof_enabled") == "1":
        policy = await _setting(node, "appendfsync")
        if policy == "no":
            log.warning("appendfsync is no: Redis leaves it to the system when to write its log")
        return "redis-aof"
    save = await _setting(node, "save")
    if save or (save is None and about.get("rdb_last_save_time") not in (None, "0")):
        log.warning("appendonly is no: a crash of Redis loses what came after its last snapshot")
        return "redis-rdb"
    log.warning("Redis keeps nothing on disk: its end is the end of all messages")
    return "redis-none"


async def _warn_of_eviction(node: NodeLink, about: dict[str, str]) -> None:
    policy = about.get("maxmemory_policy") or await _setting(node, "maxmemory-policy")
    if policy not in (None, "noeviction"):
        log.warning(
            "maxmemory-policy is %s: Redis throws accepted messages away when it is full; "
            "set it to noeviction",
            policy,
        )

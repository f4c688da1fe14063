"""Credentials in Redis, for all hubs that share it and for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from importlib.resources import files
from typing import Any

from redis.exceptions import RedisError

from agent_hub.auth.store import CredentialStore, Entry, Kind
from agent_hub.core.errors import BackendUnavailable
from agent_hub.redis_way import is_cluster, tls_failure
from agent_hub.redis_way.cluster import ClusterLink
from agent_hub.redis_way.damage import Damage
from agent_hub.redis_way.errors import unavailable
from agent_hub.redis_way.link import Link, NodeLink, Words, pool_of
from agent_hub.redis_way.pipeline import REPLY_SECONDS, Pipeline

PREFIX = "agenthub"
SLOT = "{credentials}"
"""One slot of a cluster for all of them: they are few, and asked for together."""
NAME = "the credentials in Redis"
ANSWER_SECONDS = 2.0
FOR_EVER = "+inf"


class RedisStore(CredentialStore):
    """Every call asks Redis, so that what one node writes every other sees with its next call.

    An entry is `<end> <value>`, and each kind has an index of its keys by their ends. What broke on
    its way is asked again: what is meant for once nobody may have had then, but never two. `now` is
    the wall clock.
    """

    def __init__(self, url: str, now: Callable[[], float], *, prefix: str = PREFIX) -> None:
        self._url = url
        self._now = now
        self._prefix = f"{prefix}:{SLOT}"
        self._link: Link | None = None
        self._pipeline: Pipeline | None = None
        self._put, self._delete = (_script(name) for name in ("put", "delete"))
        self._unread = Damage("%s holds something else than a credential, which is left out")

    async def open(self) -> None:
        try:
            self._link = await _link_to(self._url)
        except (RedisError, OSError) as error:
            raise _unreachable(error) from None
        # Reading is enough: a Redis that is full still knows who may come in.
        probe = ("EXISTS", self._index(Kind.TOKEN))
        self._pipeline = Pipeline(self._link, NAME, {}, lambda: None, REPLY_SECONDS, probe)

    async def close(self) -> None:
        if self._pipeline is not None:
            await self._pipeline.close()
        if self._link is not None:
            await self._link.close()

    async def get(self, kind: Kind, key: str) -> bytes | None:
        name = self._key(kind, key)
        try:
            entry = await self._one(name, key)
        except (RedisError, ValueError):  # not None: that a token was revoked may have stood there
            raise unavailable(f"{NAME}: {name} cannot be read") from None
        return None if entry is None else entry.value

    async def get_many(self, kind: Kind, keys: Collection[str]) -> Mapping[str, bytes]:
        return {entry.key: entry.value for entry in await self._read(kind, keys)}

    async def _read(self, kind: Kind, keys: Collection[str]) -> list[Entry]:
        """Those that can be read."""
        if not keys:
            return []
        names = {self._key(kind, key): key for key in keys}
        try:
            # No MGET: while their slot moves, some are here and some are there.
            kept = await self._asked(*[("GET", name) for name in names])
            found = list(map(self._entry, names.values(), kept))
        except (RedisError, ValueError):  # for the sake of one: which it is, is seen one by one
            read = await self._unread.ask_each(names, lambda name: self._one(name, names[name]))
            found = [entry for _, entry in read]
        return [entry for entry in found if entry is not None]

    async def _one(self, name: str, key: str) -> Entry | None:
        """Raises RedisError or ValueError for what is no entry."""
        (whole,) = await self._asked(("GET", name))
        return self._entry(key, whole)

    def _entry(self, key: str, whole: bytes | None) -> Entry | None:
        """None for one that is over, too. Raises ValueError."""
        if whole is None:
            return None
        ends, _, value = whole.partition(b" ")
        expires_at = None if ends.decode() == FOR_EVER else float(ends)
        over = expires_at is not None and expires_at <= self._now()
        return None if over else Entry(key, value, expires_at)

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
        ends = FOR_EVER if expires_at is None else repr(expires_at)
        condition = "new" if only_new else "known" if only_known else ""
        return await self._run(self._put, kind, key, value, ends, repr(self._now()), condition)

    async def delete(self, kind: Kind, key: str) -> bool:
        return await self._run(self._delete, kind, key, repr(self._now()))

    async def entries(self, kind: Kind) -> list[Entry]:
        (listed,) = await self._ask(("ZRANGE", self._index(kind), 0, -1))
        return await self._read(kind, sorted(key.decode() for key in listed))

    # --- the way to Redis -----------------------------------------------------------------

    def _key(self, kind: Kind, key: str) -> str:
        return f"{self._prefix}:{kind}:{key}"

    def _index(self, kind: Kind) -> str:
        return f"{self._prefix}:index:{kind}"

    async def _run(self, script: str, kind: Kind, key: str, *arguments: str | bytes) -> bool:
        keys = (self._key(kind, key), self._index(kind))
        (answer,) = await self._ask(("EVAL", script, 2, *keys, key, *arguments))
        return bool(answer)

    async def _ask(self, *commands: Words) -> list[Any]:
        """Raises BackendUnavailable."""
        try:
            return await self._asked(*commands)
        except RedisError as error:
            raise _unreachable(error) from None

    def _asked(self, *commands: Words) -> asyncio.Future[list[Any]]:
        assert self._pipeline is not None, "not open"
        return self._pipeline.ask(commands)


async def _link_to(url: str) -> Link:
    """Raises RedisError or OSError."""
    node = NodeLink(pool_of(url))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            about = await node.about("server")
    except BaseException:
        await node.close()
        raise
    if not is_cluster(about):
        return node
    await node.close()
    return ClusterLink(url)


def _unreachable(error: RedisError | OSError) -> BackendUnavailable:
    """The client's own text is not repeated: it may hold anything."""
    why = tls_failure(error) or type(error).__name__
    return unavailable(f"{NAME} cannot be reached ({why})")


def _script(name: str) -> str:
    return files(__package__).joinpath(f"redis_{name}.lua").read_text(encoding="utf-8")

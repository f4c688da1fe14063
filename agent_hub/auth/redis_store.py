"""Credentials in Redis, for all hubs that share it and for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from importlib.resources import files
from typing import Any, TypeVar, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from agent_hub.auth.store import CredentialStore, Entry, Kind
from agent_hub.core.errors import BackendUnavailable
from agent_hub.redis_way import is_cluster, tls_failure

PREFIX = "agenthub"
SLOT = "{credentials}"
"""One slot of a cluster for all of them: they are few, and asked for together."""
ANSWER_SECONDS = 2.0
RETRY_SECONDS = 1.0
FOR_EVER = "+inf"

T = TypeVar("T")


class RedisStore(CredentialStore):
    """Every call asks Redis, so that what one node writes every other sees with its next call.

    An entry is `<end> <value>`, and each kind has an index of its keys by their ends. Nothing is
    tried again by itself: what was meant for once must not happen twice. `now` is the wall clock.
    """

    def __init__(self, url: str, now: Callable[[], float], *, prefix: str = PREFIX) -> None:
        self._url = url
        self._now = now
        self._prefix = f"{prefix}:{SLOT}"
        self._client: Redis | RedisCluster = _client(Redis, url)
        self._put, self._delete = (_script(name) for name in ("put", "delete"))

    async def open(self) -> None:
        about = await self._ask(self._client.info("server"))
        if is_cluster(about):
            await self._client.aclose()
            self._client = _client(RedisCluster, self._url)

    async def close(self) -> None:
        await self._client.aclose()

    async def get_many(self, kind: Kind, keys: Collection[str]) -> Mapping[str, bytes]:
        return {entry.key: entry.value for entry in await self._read(kind, list(keys))}

    async def _read(self, kind: Kind, keys: list[str]) -> list[Entry]:
        if not keys:
            return []
        names = [self._key(kind, key) for key in keys]
        kept = cast("list[bytes | None]", await self._ask(self._client.mget(names)))
        now = self._now()
        entries = (
            _entry(key, whole) for key, whole in zip(keys, kept, strict=True) if whole is not None
        )
        return [one for one in entries if one.expires_at is None or one.expires_at > now]

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
        listed = await self._ask(self._client.zrange(self._index(kind), 0, -1))
        keys = sorted(key.decode() for key in cast("list[bytes]", listed))
        return await self._read(kind, keys)

    # --- the way to Redis -----------------------------------------------------------------

    def _key(self, kind: Kind, key: str) -> str:
        return f"{self._prefix}:{kind}:{key}"

    def _index(self, kind: Kind) -> str:
        return f"{self._prefix}:index:{kind}"

    async def _run(self, script: str, kind: Kind, key: str, *arguments: str | bytes) -> bool:
        asked = self._client.eval(
            script, 2, self._key(kind, key), self._index(kind), key, *cast("Any", arguments)
        )
        return bool(await self._ask(cast("Awaitable[int]", asked)))

    async def _ask(self, asked: Awaitable[T]) -> T:
        """Raises BackendUnavailable. The client's own text is not repeated: it may hold anything.

        Shielded: a call that is cut off would take its connection with it.
        """
        try:
            return await asyncio.shield(asyncio.ensure_future(asked))
        except (RedisError, OSError) as error:
            why = tls_failure(error) or type(error).__name__
            raise BackendUnavailable(
                f"the credentials in Redis cannot be reached ({why})",
                retry_after=RETRY_SECONDS,
            ) from None


def _client(kind: Any, url: str) -> Any:
    return kind.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


def _script(name: str) -> str:
    return files(__package__).joinpath(f"redis_{name}.lua").read_text(encoding="utf-8")


def _entry(key: str, whole: bytes) -> Entry:
    ends, _, value = whole.partition(b" ")
    expires_at = None if ends.decode() == FOR_EVER else float(ends)
    return Entry(key, value, expires_at)

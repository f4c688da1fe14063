"""The public keys of an issuer (RFC 7517), fetched now and then.

PyJWT's own client for this blocks its thread on each fetch and asks again for every unknown key
id, which a stranger can make up: see docs/decisions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import jwt

from agent_hub.auth.fetching import MAX_BYTES, decoded, fetch
from agent_hub.core.clock import Clock
from agent_hub.core.errors import BackendUnavailable, Unauthenticated
from agent_hub.core.network import is_safe

log = logging.getLogger(__name__)

FRESH_SECONDS = 300.0
STALE_SECONDS = 3_600.0
"""How long keys are trusted that cannot be fetched again."""
PAUSE_SECONDS = 30.0
"""Between two fetches, whatever is asked for."""
MAX_KEYS = 100
FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

Fetch = Callable[[], Awaitable[bytes]]


class KeySet:
    """Finds the key of a token by its name. `fetch` gives the JSON of a JWK set."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: list[dict[str, Any]] = []
        self._made: dict[tuple[int, str], jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._is_due = False
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str | None, algorithm: str) -> jwt.PyJWK:
        """The one key of that name that can verify `algorithm`.

        Without a name, the only one that can. Raises Unauthenticated when there is none, and
        BackendUnavailable when there are no keys at all.
        """
        if self._is_due or self._age() > FRESH_SECONDS:
            await self._refresh()
        found = self._find(kid, algorithm)
        if found is None:
            await self._refresh()  # the issuer may have begun to use a new one
            found = self._find(kid, algorithm)
        if self._age() > STALE_SECONDS:
            raise BackendUnavailable(
                "the keys of the issuer cannot be fetched", retry_after=PAUSE_SECONDS
            )
        if found is None:
            raise Unauthenticated("the token was signed with a key that the issuer does not show")
        return found

    def read_again(self) -> None:
        """Fetch at the next need, however new the keys are; they hold until that succeeds."""
        self._is_due = True

    def _age(self) -> float:
        if self._fetched_at is None:
            return float("inf")
        return self._clock.monotonic() - self._fetched_at

    def _find(self, kid: str | None, algorithm: str) -> jwt.PyJWK | None:
        fitting = [
            number
            for number, key in enumerate(self._keys)
            if (kid is None or key.get("kid") == kid) and _fits(key, algorithm)
        ]
        if len(fitting) != 1:  # of two with one name nobody can say which was meant
            return None
        return self._make(fitting[0], algorithm)

    def _make(self, number: int, algorithm: str) -> jwt.PyJWK | None:
        made = self._made.get((number, algorithm))
        if made is None:
            try:
                made = jwt.PyJWK(self._keys[number], algorithm)
            except jwt.PyJWTError as error:
                log.warning("a key of the issuer cannot be used: %s", type(error).__name__)
                return None
            self._made[number, algorithm] = made
        return made

    # --- fetching -------------------------------------------------------------------------

    async def _refresh(self) -> None:
        """Fetch once for all who ask, and not again within the pause."""
        if self._fetching is None:
            now = self._clock.monotonic()
            has_paused = self._tried_at is None or now - self._tried_at >= PAUSE_SECONDS
            if not (has_paused or self._is_due):
                return
            self._tried_at, self._is_due = now, False
            self._fetching = asyncio.ensure_future(self._take())
            self._fetching.add_done_callback(self._taken)
        await asyncio.shield(self._fetching)

    def _taken(self, fetching: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _take(self) -> None:
        try:
            self._keys = keys_of(await self._fetch())
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.warning("the keys of the issuer could not be fetched: %s", error)
            return
        self._made.clear()
        self._fetched_at = self._clock.monotonic()


def keys_of(text: bytes) -> list[dict[str, Any]]:
    """The keys in a JWK set. Raises ValueError for what is none."""
    whole = decoded(text, object)
    keys = whole.get("keys") if isinstance(whole, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f"it is no set of at most {MAX_KEYS} keys")
    return [key for key in keys if isinstance(key, dict)]


def _fits(key: dict[str, Any], algorithm: str) -> bool:
    """Whether a key is of the algorithm's family, and not meant for something else."""
    return (
        key.get("kty") == FAMILIES.get(algorithm[:2])
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and "verify" in key.get("key_ops", ["verify"])
    )


def source(where: str) -> Fetch:
    """How to fetch from an address or a file. Raises ValueError for what is neither."""
    if is_safe(where):
        return lambda: _from_address(where)
    if "://" in where:
        raise ValueError("the keys must come by https://, or from a file")
    return lambda: asyncio.to_thread(_from_file, Path(where))


async def _from_address(url: str) -> bytes:
    status, text = await fetch("GET", url)
    if status != 200:
        raise ValueError(f"{url} answered {status}")
    return text


def _from_file(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"the keys are more than {MAX_BYTES} bytes")
    return path.read_bytes()

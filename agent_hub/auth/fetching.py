"""What stands at an address that somebody else answers at."""

from __future__ import annotations

from typing import Any, TypeVar

import aiohttp
import msgspec

FETCH_SECONDS = 5.0
MAX_BYTES = 256 * 1024
HEADERS = {"Accept": "application/json, */*;q=0.1"}
"""Some show their keys only to who takes `application/jwk-set+json`, as Kubernetes does."""

T = TypeVar("T")


async def fetch(method: str, url: str, **more: Any) -> tuple[int, bytes]:
    """The status and the body; a redirect is not followed.

    Raises aiohttp.ClientError or OSError, also for what is too long or takes too long.
    """
    timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=HEADERS) as session,
        session.request(method, url, allow_redirects=False, **more) as response,
    ):
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                raise aiohttp.ClientPayloadError(f"more than {MAX_BYTES} bytes")
        return response.status, bytes(body)


def decoded(body: bytes | bytearray, shape: type[T]) -> T:
    """JSON that somebody else wrote. Raises ValueError for what is none, or not of that shape."""
    try:
        return msgspec.json.decode(body, type=shape)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None

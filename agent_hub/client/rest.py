"""REST calls and the WebSocket upgrade: one HTTP session to one hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import aiohttp

from agent_hub.client.errors import HubError, HubUnreachable, refusal
from agent_hub.client.pace import Pace, retrying

ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_FRAME_BYTES = 16 * 1024 * 1024


class Response(NamedTuple):
    headers: Mapping[str, str]
    body: bytes


class Rest:
    """Every failure leaves here as a HubError, one that may pass with `retryable`.

    `token` is shown with each request; aiohttp does not pass it on to another origin.
    """

    def __init__(self, server_url: str, pace: Pace, token: str | None = None) -> None:
        if not server_url.startswith(("http://", "https://")):
            raise ValueError(f"server_url must start with http:// or https://, not {server_url!r}")
        self._base = server_url.rstrip("/")
        self._pace = pace
        self._headers = _authorization(token)
        self._session: aiohttp.ClientSession | None = None

    async def call(self, method: str, path: str, **request: Any) -> Response:
        """`once`, again and again within the bounds of the pace."""
        return await retrying(partial(self.once, method, path, **request), self._pace)

    async def once(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait: float = 0.0,
    ) -> Response:
        """One request below /api/v1; the hub may take `wait` seconds longer than usual."""
        with _failures_as_hub_errors():
            async with self._open().request(
                method,
                f"{self._base}/api/v1{path}",
                data=None if body is None else _encoded(body),
                params=_given(query or {}),
                headers={"Content-Type": "application/json", **(headers or {})},
                timeout=_timeout(ANSWER_SECONDS + wait),
            ) as response:
                return Response(response.headers, await response.read())

    async def connect(self, path: str, query: Mapping[str, Any]) -> aiohttp.ClientWebSocketResponse:
        """Open the WebSocket at `path`."""
        with _failures_as_hub_errors():
            return await self._open().ws_connect(
                f"{self._base}{path}", params=_given(query), max_msg_size=MAX_FRAME_BYTES
            )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        # Not in the constructor: a session belongs to the event loop that it is made in.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=_timeout(ANSWER_SECONDS),
                raise_for_status=_raise_refusal,
                headers=self._headers,
            )
        return self._session


def _authorization(token: str | None) -> dict[str, str]:
    """Raises ValueError for what cannot be a token; the text does not repeat it."""
    if token is None:
        return {}
    if not (token.isascii() and token.isprintable() and token and " " not in token):
        raise ValueError("token must be one word of ASCII characters")
    return {"Authorization": f"Bearer {token}"}


async def _raise_refusal(response: aiohttp.ClientResponse) -> None:
    # As the session's own check it sees a refused WebSocket upgrade too, with its body.
    if response.status >= 400:
        raise refusal(response.status, response.headers, await response.read())


@contextmanager
def _failures_as_hub_errors() -> Iterator[None]:
    try:
        yield
    except aiohttp.WSServerHandshakeError as error:
        raise HubError("unexpected_answer", status=error.status, detail=error.message) from error
    except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
        raise HubUnreachable(str(error), retryable=False) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise HubUnreachable(str(error) or "no answer in time") from error


def _encoded(body: Mapping[str, Any]) -> bytes:
    # Not msgspec: it would turn NaN into null, and a sender would never learn of it.
    return json.dumps(_given(body), allow_nan=False, ensure_ascii=False).encode()


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)

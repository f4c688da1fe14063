"""REST calls and the WebSocket upgrade: one HTTP session to one hub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import aiohttp

from agent_hub.client.credential import Credential
from agent_hub.client.errors import HubError, HubUnreachable, refusal
from agent_hub.client.pace import Pace, retrying

ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_FRAME_BYTES = 16 * 1024 * 1024
UNAUTHENTICATED = 401

T = TypeVar("T")


class Response(NamedTuple):
    headers: Mapping[str, str]
    body: bytes


class Rest:
    """Every failure leaves here as a HubError, one that may pass with `retryable`.

    The credential is shown with each request; aiohttp does not pass it on to another origin. Once
    this is closed, every call raises RuntimeError, also one that was under way.
    """

    def __init__(self, server_url: str, pace: Pace, credential: Credential) -> None:
        if not server_url.startswith(("http://", "https://")):
            raise ValueError(f"server_url must start with http:// or https://, not {server_url!r}")
        self._base = server_url.rstrip("/")
        self._pace = pace
        self._credential = credential
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def call(self, method: str, path: str, **request: Any) -> Response:
        """`once`, again and again within the bounds of the pace."""
        attempt = partial(self.renewing, partial(self.once, method, path, **request))
        return await retrying(attempt, self._pace)

    async def renewing(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` answers, the second time if its token is refused and can be renewed."""
        try:
            return await attempt()
        except HubError as error:
            if error.status != UNAUTHENTICATED or not self._credential.renews:
                raise
        return await attempt()

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
        shown = {"Content-Type": "application/json", **await self._credential.headers()}
        with self._open() as session:
            async with session.request(
                method,
                f"{self._base}/api/v1{path}",
                data=None if body is None else _encoded(body),
                params=_given(query or {}),
                headers={**shown, **(headers or {})},
                timeout=_timeout(ANSWER_SECONDS + wait),
                raise_for_status=partial(self._check, method),
            ) as response:
                return Response(response.headers, await response.read())

    async def connect(self, path: str, query: Mapping[str, Any]) -> aiohttp.ClientWebSocketResponse:
        """Open the WebSocket at `path`."""
        shown = await self._credential.headers()
        with self._open() as session:
            return await session.ws_connect(
                f"{self._base}{path}",
                params=_given(query),
                headers=shown,
                max_msg_size=MAX_FRAME_BYTES,
            )

    def check_open(self) -> None:
        """Raise RuntimeError once this is closed."""
        if self._closed:
            raise RuntimeError("this client is closed; make another")

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def _check(self, method: str, response: aiohttp.ClientResponse) -> None:
        # As the session's own check it sees a refused WebSocket upgrade too, with its body.
        is_shown = "Authorization" in response.request_info.headers
        # Led elsewhere by 301 or 302 a POST becomes a GET; to another origin no token is shown.
        if response.method != method or (self._credential.is_given and not is_shown):
            detail = f"no hub is at {self._base}, which leads to {response.url}"
            raise HubError("unexpected_answer", detail=detail)
        if response.status >= 400:
            raise refusal(response.status, response.headers, await response.read())

    @contextmanager
    def _open(self) -> Iterator[aiohttp.ClientSession]:
        self.check_open()
        # Not in the constructor: a session belongs to the event loop that it is made in.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=_timeout(ANSWER_SECONDS), raise_for_status=partial(self._check, "GET")
            )
        try:
            with _failures_as_hub_errors():
                yield self._session
        except HubUnreachable:
            self.check_open()  # it was no fault of the hub's
            raise
        except asyncio.CancelledError:
            if not _is_cancelled():  # but what it waited for, by the closing of the session
                self.check_open()
            raise


def _is_cancelled() -> bool:
    """Whether somebody cancelled the task that runs."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@contextmanager
def _failures_as_hub_errors() -> Iterator[None]:
    try:
        yield
    except aiohttp.WSServerHandshakeError as error:
        raise HubError("unexpected_answer", status=error.status, detail=error.message) from error
    except aiohttp.TooManyRedirects as error:
        detail = f"no hub is at {error.request_info.url}, which leads in a circle"
        raise HubError("unexpected_answer", detail=detail) from error
    except (aiohttp.ClientSSLError, aiohttp.InvalidURL) as error:
        raise HubUnreachable(str(error), retryable=False) from error
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise HubUnreachable(str(error)) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise HubUnreachable(str(error) or "no answer in time", in_doubt=True) from error


def _encoded(body: Mapping[str, Any]) -> bytes:
    # Not msgspec: it would turn NaN into null, and a sender would never learn of it.
    return json.dumps(_given(body), allow_nan=False, ensure_ascii=False).encode()


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)

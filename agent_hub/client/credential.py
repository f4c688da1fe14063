"""The token that a client shows: one for good, or what a function says each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable

from agent_hub.client.errors import HubError

Token = str | Callable[[], str | Awaitable[str]]


class Credential:
    """Raises ValueError or TypeError for what cannot be a token; the text does not repeat it."""

    def __init__(self, token: Token | None) -> None:
        self._token = token
        if not (token is None or callable(token)):
            _header(token)

    @property
    def is_given(self) -> bool:
        """Whether there is a token to show."""
        return self._token is not None

    @property
    def renews(self) -> bool:
        """Whether the next token may be another."""
        return callable(self._token)

    async def headers(self) -> dict[str, str]:
        """What shows the token of the moment; HubError `no_token` when its function fails."""
        if self._token is None:
            return {}
        token = await _asked(self._token) if callable(self._token) else self._token
        return {"Authorization": _header(token)}


async def _asked(function: Callable[[], str | Awaitable[str]]) -> str:
    try:
        token = function()
        return await token if isawaitable(token) else token
    except Exception as error:
        # Most ask somebody over the network, and that passes. What they say of it may hold secrets.
        name = type(error).__name__
        detail = f"the function for the token raised {name}"
        raise HubError("no_token", detail=detail, retryable=True) from error


def _header(token: object) -> str:
    if not isinstance(token, str):
        raise TypeError(f"token must be a string, not {type(token).__name__}")
    if not (token.isascii() and token.isprintable() and token and " " not in token):
        raise ValueError("token must be one word of ASCII characters")
    return f"Bearer {token}"

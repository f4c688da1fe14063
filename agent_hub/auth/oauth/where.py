"""By which address the hub is known: the issuer of its tokens, and the resource they are for."""

from __future__ import annotations

import re
from contextvars import ContextVar

MCP_PATH = "/mcp"

LOCAL_BASE = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")

BASE: ContextVar[str] = ContextVar("base")
"""The base of the request at hand. The SDK's handlers have no place to carry it."""


class Where:
    """`public_url` is the hub's origin as clients know it, without a slash at its end.

    None means that only this machine reaches the hub: then each request's own Host is taken, one
    of a few names that the gate lets through, because clients compare it with what they typed.
    """

    def __init__(self, public_url: str | None) -> None:
        self._public_url = public_url

    def base(self, scheme: str, host: str) -> str:
        """The issuer for a request that named this host."""
        return self._public_url or f"{scheme}://{host}".lower()

    def is_own(self, issuer: str) -> bool:
        """Whether this hub goes by that name."""
        if self._public_url is not None:
            return issuer == self._public_url
        return LOCAL_BASE.fullmatch(issuer) is not None


def resource_of(base: str) -> str:
    """The one resource of the hub, by the address of its MCP route (RFC 8707)."""
    return base + MCP_PATH


def is_resource(named: str, base: str) -> bool:
    """Whether a client that names this means the hub; a slash at the end makes no difference."""
    return named.removesuffix("/") == resource_of(base)

"""The headers that tell a client how much it may still ask (IETF draft-ietf-httpapi-ratelimit)."""

from __future__ import annotations

from math import ceil
from typing import Protocol

from agent_hub.core.errors import HubError
from agent_hub.core.rate_limit import Quota


class Headers(Protocol):
    """Whatever takes headers: a Reply, or the headers of aiohttp's own responses."""

    def add(self, name: str, value: str, /) -> None: ...


def retry_header(error: HubError) -> dict[str, str]:
    """Retry-After, in whole seconds, rounded up; nothing where there is no use in it."""
    if error.retry_after is None:
        return {}
    return {"Retry-After": str(max(1, ceil(error.retry_after)))}


def quota_headers(quota: Quota) -> dict[str, str]:
    """RateLimit-Policy and RateLimit of one bucket."""
    return {
        "RateLimit-Policy": f'"agent";q={_decimal(quota.rate)};w=1',
        "RateLimit": f'"agent";r={quota.remaining};t={quota.reset}',
    }


def _decimal(number: float) -> str:
    """Without an exponent, which a structured field has not (RFC 9651, 3.3.2)."""
    return f"{number:.3f}".rstrip("0").rstrip(".")


def add_quota(reply: Headers, quota: Quota | None) -> None:
    if quota is not None:
        for name, value in quota_headers(quota).items():
            reply.add(name, value)

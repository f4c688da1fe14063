"""The headers that tell a client how much it may still ask (IETF draft-ietf-httpapi-ratelimit)."""

from __future__ import annotations

from agent_hub.core.rate_limit import Quota
from agent_hub.web.reply import Reply


def quota_headers(quota: Quota) -> dict[str, str]:
    """RateLimit-Policy and RateLimit of one bucket."""
    return {
        "RateLimit-Policy": f'"agent";q={quota.rate:g};w=1',
        "RateLimit": f'"agent";r={quota.remaining};t={quota.reset}',
    }


def add_quota(reply: Reply, quota: Quota | None) -> None:
    if quota is not None:
        for name, value in quota_headers(quota).items():
            reply.add(name, value)

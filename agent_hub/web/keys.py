"""What belongs to one request, and where the request keeps it."""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct


class Call(Struct):
    """`quota_of` is whose token bucket it counts against: an agent id or an address."""

    request_id: str
    quota_of: str | None = None


CALL = web.RequestKey("call", Call)

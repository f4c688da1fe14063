"""What belongs to one request, and where the request keeps it."""

from __future__ import annotations

from aiohttp import web
from msgspec import Struct

from agent_hub.core.principal import Principal


class Call(Struct):
    """`quota_of` is whose token bucket it counts against: an agent id or an address.

    `caller` is who showed a credential; None where none is needed or none was shown.
    """

    request_id: str
    quota_of: str | None = None
    caller: Principal | None = None


CALL = web.RequestKey("call", Call)

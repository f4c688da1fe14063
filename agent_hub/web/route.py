"""One call of the HTTP doors."""

from __future__ import annotations

from typing import Any

from aiohttp.typedefs import Handler
from msgspec import Struct

from agent_hub.core.errors import HubError
from agent_hub.web.gate import Access
from agent_hub.web.reply import JSON


class Route(Struct, kw_only=True):
    """What the router needs of a call, and what its users need to know.

    `answers` are the successful ones: status and type, None for an empty body. `refusals` are
    those of this very call, beside what every call may answer. `access` is what a hub that asks
    for credentials asks for here.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    summary: str
    query: type[Any] | None = None
    body: Any = None
    idempotent: bool = False
    answers: dict[int, Any]
    media_types: tuple[str, ...] = (JSON,)
    refusals: tuple[type[HubError], ...] = ()
    access: Access = Access.CREDENTIAL

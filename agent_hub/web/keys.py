"""Where a request keeps what belongs to it."""

from __future__ import annotations

from aiohttp import web

REQUEST_ID = web.RequestKey("request_id", str)
QUOTA_OF = web.RequestKey("quota_of", str)
"""Whose token bucket this request counts against: an agent id or an address."""

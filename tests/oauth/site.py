"""A client's own site, on this machine: its document behind TLS, under a name of its own."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trustme
from aiohttp import web

from agent_hub.auth.oauth.documents import Address, Documents, Resolve, is_public
from agent_hub.core.clock import Clock
from tests.listening import listening

HOST = "ide.example"
CALLBACK = "http://127.0.0.1:33418/callback"
AUTHORITY = trustme.CA()
"""Made once: a key takes long."""


class Site:
    """What it answers, and what it was asked."""

    def __init__(self, port: int, addresses: list[str]) -> None:
        self.port = port
        self.addresses = addresses
        self.asked: list[str] = []
        self.resolved = 0
        self.answers: dict[str, web.Response] = {}
        self.document: dict[str, Any] = {
            "client_id": self.client_id,
            "client_name": "Example IDE",
            "redirect_uris": [CALLBACK],
        }

    @property
    def client_id(self) -> str:
        return self.url("client.json")

    def url(self, path: str, host: str = HOST) -> str:
        return f"https://{host}:{self.port}/{path}"

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return self.answers.pop(request.path, None) or web.json_response(self.document)

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved += 1
        return list(self.addresses)

    def documents(self, clock: Clock, *, resolve: Resolve | None = None) -> Documents:
        """What fetches from here: this site's addresses count as public, and no other does."""
        tls = ssl.create_default_context()
        AUTHORITY.configure_trust(tls)

        def allows(address: Address) -> bool:
            return str(address) == "127.0.0.1" or is_public(address)

        return Documents(clock, resolve=resolve or self.resolve, allows=allows, tls=tls)


@asynccontextmanager
async def client_site() -> AsyncIterator[Site]:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(HOST).configure_cert(tls)
    app = web.Application()
    site = Site(0, ["127.0.0.1"])
    app.router.add_get("/{path:.*}", site.answer)
    # Some answers never end.
    async with listening(app, tls=tls, shutdown_timeout=0.1) as site.port:
        site.document["client_id"] = site.client_id
        yield site

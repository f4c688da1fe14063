"""Requests that wait for a person's answer: between the client's question and the code for it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec
from mcp.server.auth.provider import construct_redirect_uri
from msgspec import Struct

from agent_hub.auth.store import CredentialStore, Kind

LIFE_SECONDS = 600.0


class Outside(Struct, frozen=True):
    """A request whose person is at the outside identity provider at the moment.

    `browser` is the digest of the cookie of the browser that went there.
    """

    browser: str
    agent: str
    nonce: str
    verifier: str


class Request(Struct, frozen=True, kw_only=True):
    """What a client asked for. `base` is the issuer that it asked."""

    id: str
    base: str
    client_id: str
    client_name: str
    redirect_uri: str
    redirect_uri_provided_explicitly: bool
    state: str | None
    scopes: tuple[str, ...]
    code_challenge: str
    outside: Outside | None = None

    def answer(self, **values: str | None) -> str:
        """Where to send the browser, with the answer and who gives it (RFC 9207)."""
        return construct_redirect_uri(self.redirect_uri, **values, state=self.state, iss=self.base)


class Requests:
    """Keeps requests for LIFE_SECONDS. `now` is the wall clock."""

    def __init__(self, store: CredentialStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def name(self) -> str:
        return secrets.token_urlsafe(16)

    async def keep(self, request: Request) -> None:
        await self._store.put(
            Kind.REQUEST,
            request.id,
            msgspec.json.encode(request),
            expires_at=self._now() + LIFE_SECONDS,
        )

    async def find(self, request_id: str) -> Request | None:
        kept = await self._store.get(Kind.REQUEST, request_id)
        return None if kept is None else msgspec.json.decode(kept, type=Request)

    async def take(self, request_id: str) -> bool:
        """Use a request up. True for the one who did."""
        return await self._store.delete(Kind.REQUEST, request_id)

"""An OAuth client by hand, for what the SDK's own would never do; and the SDK's own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx2
from aiohttp import ClientResponse
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from tests.mcp.door import Ide
from tests.oauth.hubs import SignInHub
from tests.oauth.person import Person
from tests.oauth.site import CALLBACK
from tests.patience import PATIENCE

VERIFIER = "v" * 64
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
)


class HandClient:
    """Says what it is told to, one step at a time."""

    def __init__(self, hub: SignInHub, *others: SignInHub) -> None:
        self.hub = hub
        self._nodes = [one.url for one in (hub, *others)]

    def person(self) -> Person:
        """Somebody whose browser reaches the hub by its public address, if it has one."""
        return Person(self.hub.public_url, *self._nodes)

    def link(self, **changed: str | None) -> str:
        """The address of the authorization endpoint; a parameter that is None is left out."""
        query = {
            "response_type": "code",
            "client_id": self.hub.site.client_id,
            "redirect_uri": CALLBACK,
            "state": "st4te",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": self.hub.resource,
            **changed,
        }
        said = {name: value for name, value in query.items() if value is not None}
        return f"{self.hub.public_url or self.hub.url}/authorize?{urlencode(said)}"

    async def code(self, agent: str = "beta", **changed: str | None) -> str:
        """A code, as a person gives it who agrees."""
        login = await self.hub.codes.make()
        async with self.person() as person:
            answer = await person.agree(self.link(**changed), login, agent)
        return answer["code"]

    async def post(self, path: str, **form: str) -> ClientResponse:
        """Send a form; the answer is read already."""
        async with self.hub.hub.session.post(path, data=form, allow_redirects=False) as response:
            await response.read()
            return response

    async def exchange(self, code: str, **changed: str) -> ClientResponse:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "client_id": self.hub.site.client_id,
            "code_verifier": VERIFIER,
            "resource": self.hub.resource,
            **changed,
        }
        return await self.post("/token", **form)

    async def refresh(self, token: str, **changed: str) -> ClientResponse:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": token,
            "client_id": self.hub.site.client_id,
            **changed,
        }
        return await self.post("/token", **form)

    async def revoke(self, token: str, **changed: str) -> ClientResponse:
        form = {"token": token, "client_id": self.hub.site.client_id, **changed}
        return await self.post("/revoke", **form)

    async def tokens(self, agent: str = "beta") -> OAuthToken:
        """A whole sign-in."""
        response = await self.exchange(await self.code(agent))
        assert response.status == 200, await response.text()
        return OAuthToken.model_validate(await response.json())

    async def call(self, token: str | None, tool: str = "get_my_identity", **arguments: Any) -> int:
        """The status of a tool's call."""
        return (await self.called(token, tool, **arguments)).status

    async def called(
        self, token: str | None, tool: str = "get_my_identity", **arguments: Any
    ) -> ClientResponse:
        headers = {"Accept": "application/json, text/event-stream"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": tool, "arguments": arguments},
        }
        async with self.hub.hub.session.post("/mcp", json=body, headers=headers) as response:
            await response.read()
            return response


class Storage:
    """Where the SDK's client keeps what it was given."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


SendThere = Callable[[str], Awaitable[dict[str, str]]]
"""Takes a person to a link; what the client is sent back."""


def sdk_auth(
    hub: SignInHub, storage: Storage, go: SendThere, *, with_document: bool = True
) -> OAuthClientProvider:
    """The SDK's own OAuth client; without a document it registers itself."""
    answers: list[dict[str, str]] = []

    async def redirect(url: str) -> None:
        answers.append(await go(url))

    async def callback() -> AuthorizationCodeResult:
        answer = answers.pop()
        return AuthorizationCodeResult(
            code=answer["code"], state=answer.get("state"), iss=answer.get("iss")
        )

    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], client_name="Example IDE")
    return OAuthClientProvider(
        hub.mcp,
        metadata,
        storage,
        redirect,
        callback,
        client_metadata_url=hub.site.client_id if with_document else None,
    )


@asynccontextmanager
async def signed_in_ide(hub: SignInHub, auth: OAuthClientProvider, era: str) -> AsyncIterator[Ide]:
    """An IDE with the SDK's client, which signs in when it is asked to."""
    async with (
        httpx2.AsyncClient(auth=auth, timeout=PATIENCE) as http,
        Client(streamable_http_client(hub.mcp, http_client=http), mode=era) as client,
    ):
        yield Ide(client)

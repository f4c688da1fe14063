"""A served hub that people sign in to, and who gives out login codes for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent_hub.auth.oauth.login_codes import LoginCodes
from agent_hub.auth.oauth.sessions import Sessions
from agent_hub.auth.oauth.signing_keys import SigningKeys
from agent_hub.auth.store import CredentialStore
from agent_hub.core.clock import Clock
from tests.auth.memory_store import MemoryStore
from tests.oauth.site import Site
from tests.server import RunningHub, running_hub


class SignInHub:
    """The hub; what the command line would do beside it; and a client's site."""

    def __init__(
        self, hub: RunningHub, store: CredentialStore, clock: Clock, site: Site, public_url: str
    ) -> None:
        self.hub = hub
        self.public_url = public_url
        self.store = store
        self.site = site
        self.clock = clock
        self.codes = LoginCodes(store, clock.time)
        self.sessions = Sessions(store, clock.time)
        self.keys = SigningKeys(store, clock)

    @property
    def url(self) -> str:
        return self.hub.url

    @property
    def resource(self) -> str:
        """What its tokens are for."""
        return f"{self.public_url or self.url}/mcp"

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"


@asynccontextmanager
async def sign_in_hub(
    clock: Clock, site: Site, store: CredentialStore | None = None, **settings: Any
) -> AsyncIterator[SignInHub]:
    store = store or MemoryStore(clock.time)
    whole = {"auth": ("oauth",), **settings}
    async with running_hub(
        clock=clock, credentials=store, documents=site.documents(clock), **whole
    ) as hub:
        yield SignInHub(hub, store, clock, site, settings.get("public_url", ""))

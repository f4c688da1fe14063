"""A hub that people sign in to, whose time stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clock import ManualClock
from tests.mcp.door import ERAS
from tests.oauth.client import HandClient
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.person import Person
from tests.oauth.site import Site, client_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with client_site() as site:
        yield site


@pytest.fixture
async def hub(clock: ManualClock, site: Site) -> AsyncIterator[SignInHub]:
    async with sign_in_hub(clock, site) as hub:
        yield hub


@pytest.fixture
def client(hub: SignInHub) -> HandClient:
    return HandClient(hub)


@pytest.fixture
async def person() -> AsyncIterator[Person]:
    async with Person() as person:
        yield person


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)

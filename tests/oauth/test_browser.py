"""The whole sign-in in a real Chromium that runs no script, with and without a provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from agent_hub.clock import SystemClock
from tests.listening import listening
from tests.mcp.registries import serving
from tests.oauth.browser import Browser, chromium
from tests.oauth.client import HandClient
from tests.oauth.hubs import sign_in_hub
from tests.oauth.site import Site
from tests.patience import PATIENCE
from tests.ports import free_port

pytestmark = pytest.mark.slow

ADA = {"sub": "ada", "email": "ada@example.com", "email_verified": True}
PROVIDER = ("-m", "oidc_provider_mock", "--require-nonce", "true", "--user-claims", json.dumps(ADA))
"""Somebody else's OpenID provider, in a process of its own."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


class Program:
    """The program that a person signs in: it waits on this machine for its answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    @property
    def callback(self) -> str:
        return f"http://127.0.0.1:{self.port}/callback"

    async def take(self, request: web.Request) -> web.Response:
        self.answers.put_nowait(dict(request.query))
        return web.Response(text="You are signed in. Close this page.")

    async def trap(self, request: web.Request) -> web.Response:
        """A page that would like to answer for its visitor."""
        target = request.query["target"]
        html = (
            f'<form method="post" action="{target}/oauth/sign-in">'
            f'<input type="hidden" name="request" value="{request.query["request"]}">'
            '<button name="decision" value="agree">Win a prize</button></form>'
            f'<iframe src="{target}/oauth/sign-in?request={request.query["request"]}"></iframe>'
        )
        return web.Response(text=html, content_type="text/html")


@asynccontextmanager
async def running_program() -> AsyncIterator[Program]:
    program = Program(0)
    app = web.Application()
    app.router.add_get("/callback", program.take)
    app.router.add_get("/trap", program.trap)
    async with listening(app) as program.port:
        yield program


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    async with running_program() as program:
        yield program


async def do(act: Callable[..., Any], *arguments: Any) -> Any:
    """Let the person act while the hub goes on."""
    return await asyncio.to_thread(act, *arguments)


async def test_a_person_signs_in_with_a_login_code(
    site: Site, program: Program, browser: Browser
) -> None:
    async with sign_in_hub(SystemClock(), site) as hub:
        client = HandClient(hub)
        await do(browser.open, client.link(redirect_uri=program.callback))
        await do(browser.read, "Example IDE wants to use this hub")
        await do(browser.screenshots, "sign-in")
        assert await do(browser.ground, "light") != await do(browser.ground, "dark")

        await do(browser.type, "agent", "beta")
        await do(browser.type, "code", "AAAA-AAAA-AAAA")
        await do(browser.press, "Agree")
        await do(browser.read, "This login code is not good")
        await do(browser.screenshots, "sign-in-fault")

        await do(browser.type, "code", await hub.codes.make(name="ada"))
        await do(browser.press, "Agree")
        answer = await asyncio.wait_for(program.answers.get(), PATIENCE)
        assert answer["state"] == "st4te"
        assert answer["iss"] == hub.url
        tokens = await client.exchange(answer["code"], redirect_uri=program.callback)
        assert tokens.status == 200
        [session] = await hub.sessions.all()
        assert (session.person, session.agent) == ("ada", "beta")


async def test_a_person_signs_in_at_an_outside_provider(
    site: Site, program: Program, browser: Browser
) -> None:
    port = free_port()
    with serving(PROVIDER, port):
        issuer = f"http://127.0.0.1:{port}"
        settings: dict[str, Any] = {
            "oidc_issuer": issuer,
            "oidc_client_id": "agent-hub",
            "oidc_client_secret": "secret",
            "oidc_allow": ("ada@example.com",),
        }
        async with sign_in_hub(SystemClock(), site, **settings) as hub:
            client = HandClient(hub)
            await do(browser.open, client.link(redirect_uri=program.callback))
            await do(browser.screenshots, "sign-in-provider")
            await do(browser.type, "agent", "beta")
            await do(browser.press, "Agree and sign in at")
            await do(browser.type, "sub", "ada")
            assert (await do(lambda: browser.url)).startswith(issuer)
            await do(browser.press, "Authorize")
            answer = await asyncio.wait_for(program.answers.get(), PATIENCE)
            tokens = await client.exchange(answer["code"], redirect_uri=program.callback)
            assert tokens.status == 200
            [session] = await hub.sessions.all()
            assert session.subject == f"oidc:{issuer} ada"
            assert session.person == "ada@example.com"

            await do(browser.open, client.link(redirect_uri=program.callback))
            await do(browser.type, "agent", "gamma")
            await do(browser.press, "Agree and sign in at")
            await do(browser.type, "sub", "mallory")
            await do(browser.press, "Authorize")
            await do(browser.read, "has not let you in")
            await do(browser.screenshots, "not-let-in")
            assert program.answers.empty()


async def test_a_person_refuses(site: Site, program: Program, browser: Browser) -> None:
    async with sign_in_hub(SystemClock(), site) as hub:
        await do(browser.open, HandClient(hub).link(redirect_uri=program.callback))
        await do(browser.press, "Refuse")
        answer = await asyncio.wait_for(program.answers.get(), PATIENCE)
        assert answer["error"] == "access_denied"


async def test_another_page_can_neither_answer_nor_show_the_page(
    site: Site, program: Program, browser: Browser
) -> None:
    async with sign_in_hub(SystemClock(), site) as hub:
        await do(browser.open, HandClient(hub).link(redirect_uri=program.callback))
        [request] = parse_qs(urlsplit(await do(lambda: browser.url)).query)["request"]
        trap = f"http://127.0.0.1:{program.port}/trap?target={hub.url}&request={request}"
        await do(browser.open, trap)
        await do(browser.press, "Win a prize")
        await do(browser.read, "wrong_origin")
        assert program.answers.empty()

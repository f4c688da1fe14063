"""A person with a browser that has no script: it keeps cookies, reads pages, sends forms."""

from __future__ import annotations

import re
from html import unescape
from itertools import cycle
from urllib.parse import parse_qs, urlsplit

from aiohttp import ClientResponse, ClientSession, CookieJar

_HIDDEN = re.compile(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">')
_AGENT = re.compile(r'name="agent" value="([^"]*)"')


class Page:
    """What the browser shows."""

    def __init__(self, response: ClientResponse, text: str, url: str = "") -> None:
        self.status = response.status
        self.headers = response.headers
        self.url = url or str(response.url)
        self.text = text
        self.fields = {name: unescape(value) for name, value in _HIDDEN.findall(text)}

    @property
    def agent(self) -> str:
        """The agent id that the page suggests."""
        found = _AGENT.search(self.text)
        assert found is not None, self.text
        return unescape(found.group(1))


class Person:
    """Left by `close`.

    `nodes` are the addresses behind a public one, if there is a balancer between: each request
    goes to the next.
    """

    def __init__(self, public: str = "", *nodes: str) -> None:
        self.session = ClientSession(cookie_jar=CookieJar(unsafe=True))
        self._public = public
        self._nodes = cycle(nodes)

    def _reached(self, url: str) -> str:
        if not self._public or not url.startswith(self._public):
            return url
        return next(self._nodes) + url.removeprefix(self._public)

    async def close(self) -> None:
        await self.session.close()

    async def __aenter__(self) -> Person:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def open(self, url: str) -> Page:
        """Follow a link, and what it redirects to."""
        while True:
            async with self.session.get(self._reached(url), allow_redirects=False) as response:
                text = await response.text()
                if response.status // 100 != 3:
                    return Page(response, text, url)
                url = response.headers["Location"]

    async def answer(
        self, page: Page, decision: str = "agree", *, origin: str | None = "own", **fields: str
    ) -> ClientResponse:
        """Send the page's form; what comes back, without following it anywhere."""
        parts = urlsplit(page.url)
        own = f"{parts.scheme}://{parts.netloc}"
        headers = {} if origin is None else {"Origin": own if origin == "own" else origin}
        form = {"agent": "beta", "code": "", **page.fields, **fields, "decision": decision}
        target = self._reached(f"{own}/oauth/sign-in")
        async with self.session.post(
            target, data=form, headers=headers, allow_redirects=False
        ) as response:
            await response.read()
            return response

    async def agree(self, url: str, code: str, agent: str = "beta") -> dict[str, str]:
        """Open a client's link, agree with a login code; what the client is sent back."""
        page = await self.open(url)
        assert page.status == 200, page.text
        response = await self.answer(page, agent=agent, code=code)
        assert response.status == 303, await response.text()
        return sent_back(response)


def sent_back(response: ClientResponse) -> dict[str, str]:
    """The parameters with which the browser is sent to the client; each stands there once."""
    query = parse_qs(urlsplit(response.headers["Location"]).query, strict_parsing=True)
    assert all(len(values) == 1 for values in query.values())
    return {name: values[0] for name, values in query.items()}

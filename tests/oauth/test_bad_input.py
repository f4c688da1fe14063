"""Whatever stands in a parameter is refused, or taken for what it says; the hub does not fail."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.clock import ManualClock
from tests.oauth.client import HandClient
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.site import Site

NASTY = [
    "",
    "\0",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    "é\u202e\U0001f600",
    "a" * 5_000,
    "../../etc/passwd",
    "' OR 1=1 --",
    "{{7*7}}",
    "%00%0d%0aSet-Cookie: a=b",
    "\r\nSet-Cookie: a=b",
    "http://[::1",
    "https://[::ffff:127.0.0.1]/x",
    "https://" + "a." * 200 + "example/x",
    "1e999",
    "true",
    "[]",
]
AUTHORIZE = (
    "response_type",
    "client_id",
    "redirect_uri",
    "state",
    "scope",
    "resource",
    "code_challenge",
    "code_challenge_method",
)
TOKEN = ("grant_type", "code", "redirect_uri", "client_id", "code_verifier", "resource", "scope")
SIGN_IN = ("request", "proof", "agent", "code", "decision")


@pytest.mark.parametrize("name", AUTHORIZE)
async def test_a_question_with_anything_in_it(client: HandClient, name: str) -> None:
    for value in NASTY:
        link = client.link(**{name: value})
        async with client.hub.hub.session.get(link, allow_redirects=False) as response:
            assert response.status in (302, 400), (value, response.status)
            assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("name", TOKEN)
async def test_a_token_request_with_anything_in_it(client: HandClient, name: str) -> None:
    for value in NASTY:
        form = {"code": "no code", name: value}
        response = await client.exchange(form.pop("code"), **form)
        assert response.status in (400, 401), (value, response.status)
        refused = await client.refresh("no token", **{name: value})
        assert refused.status in (400, 401), (value, refused.status)


@pytest.mark.parametrize("name", ["token", "client_id", "token_type_hint", "client_secret"])
async def test_a_revocation_with_anything_in_it(client: HandClient, name: str) -> None:
    for value in NASTY[:10]:
        form = {"token": "no token", name: value}
        response = await client.revoke(form.pop("token"), **form)
        assert response.status in (200, 400, 401), (value, response.status)


@pytest.mark.parametrize("name", SIGN_IN)
async def test_an_answer_with_anything_in_it(client: HandClient, name: str) -> None:
    async with client.person() as person:
        for value in NASTY[:12]:
            page = await person.open(client.link())
            response = await person.answer(page, **{"code": "wrong", name: value})
            assert response.status in (303, 400, 403), (value, response.status)
            assert "a=b" not in response.headers.get("Set-Cookie", "")


async def test_a_form_that_is_no_text(client: HandClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"\xff\xfe=\xff", b"%ff=%ff", b"&&&===", b"a" * 60_000, b"\0" * 100):
        for path in ("/token", "/revoke", "/oauth/sign-in"):
            async with client.hub.hub.session.post(path, data=body, headers=headers) as response:
                assert response.status in (400, 401, 403), (path, body[:9], response.status)


@pytest.mark.parametrize("path", ["/oauth/sign-in?request=", "/authorize?client_id="])
async def test_a_page_with_anything_in_it(hub: SignInHub, path: str) -> None:
    for value in NASTY:
        async with hub.hub.session.get(path + quote(value), allow_redirects=False) as response:
            assert response.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"redirect_uris": 7}',
        b'{"redirect_uris": ["\\ud800"]}',
        b"[" * 10_000,
        b'{"redirect_uris": ["http://127.0.0.1/"], "jwks": "' + b"x" * 60_000 + b'"}',
    ],
)
async def test_a_registration_with_anything_in_it(
    clock: ManualClock, site: Site, body: bytes
) -> None:
    async with sign_in_hub(clock, site, oauth_dynamic_registration=True) as hub:
        headers = {"Content-Type": "application/json"}
        async with hub.hub.session.post("/register", data=body, headers=headers) as response:
            assert response.status == 400, response.status


@pytest.mark.parametrize("path", ["/token", "/revoke", "/oauth/sign-in"])
async def test_a_form_of_too_many_fields_is_refused(client: HandClient, path: str) -> None:
    refused = await client.post(path, **{f"field-{number}": "" for number in range(1_001)})
    assert refused.status == 400
    assert (await refused.json())["error"] == "invalid_request"

"""The page on which a person agrees or refuses."""

from __future__ import annotations

import re

import pytest

from agent_hub.auth.oauth.page import form_target
from agent_hub.auth.oauth.sign_in import suggested
from tests.clock import ManualClock
from tests.oauth.client import HandClient
from tests.oauth.hubs import sign_in_hub
from tests.oauth.person import Person, sent_back
from tests.oauth.site import CALLBACK, Site


async def test_it_says_who_asks_for_what_and_where_the_answer_goes(
    client: HandClient, person: Person
) -> None:
    page = await person.open(client.link(scope="message:read message:send"))
    assert page.status == 200
    assert "Example IDE wants to use this hub" in page.text
    assert "127.0.0.1:33418" in page.text
    assert "this computer" in page.text
    assert "read the messages sent to this agent" in page.text
    assert "send messages as this agent" in page.text
    assert "register itself" not in page.text
    assert page.agent == "example-ide"


async def test_it_needs_no_script_and_loads_nothing(client: HandClient, person: Person) -> None:
    page = await person.open(client.link())
    assert "<script" not in page.text
    assert not re.search(r'\b(src|href)="', page.text)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:33418;" in policy
    assert "base-uri 'none'" in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-store"


async def test_its_cookie_is_for_the_browser_alone(client: HandClient, person: Person) -> None:
    page = await person.open(client.link())
    cookie = page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie


async def test_behind_tls_its_cookie_can_be_set_by_nobody_else(
    clock: ManualClock, site: Site
) -> None:
    async with sign_in_hub(clock, site, public_url="https://hub.example") as hub:
        client = HandClient(hub)
        async with client.person() as person:
            page = await person.open(client.link())
        assert page.url.startswith("https://hub.example/oauth/sign-in?request=")
        cookie = page.headers["Set-Cookie"]
    assert cookie.startswith("__Host-agent_hub_sign_in=")
    assert "Secure" in cookie
    assert "Path=/" in cookie


async def test_what_a_client_calls_itself_is_only_text(client: HandClient, person: Person) -> None:
    name = '<script>alert(1)</script>"\x1b[31m\u202e'
    client.hub.site.document["client_name"] = name
    page = await person.open(client.link(scope="message:read"))
    assert "<script>" not in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text
    assert "&lt;script&gt;" in page.text


async def test_a_client_on_another_site_is_said_to_be_there(
    client: HandClient, person: Person
) -> None:
    client.hub.site.document["redirect_uris"] = ["https://ide.example/callback"]
    page = await person.open(client.link(redirect_uri="https://ide.example/callback"))
    assert "another site" in page.text
    assert "form-action 'self' https://ide.example;" in page.headers["Content-Security-Policy"]


async def test_a_fault_stands_beside_its_field_and_what_was_typed_stays(
    client: HandClient, person: Person
) -> None:
    page = await person.open(client.link())
    refused = await person.answer(page, agent="my-agent", code="wrong")
    text = await refused.text()
    assert 'value="my-agent"' in text
    assert 'role="alert">This login code is not good' in text
    assert 'aria-invalid="true"' in text


async def test_a_login_code_is_taken_however_it_is_typed(
    client: HandClient, person: Person
) -> None:
    code = await client.hub.codes.make()
    typed = f" {code.lower().replace('-', ' ')} "
    assert "code" in await person.agree(client.link(), typed)


async def test_who_refuses_needs_no_code(client: HandClient, person: Person) -> None:
    page = await person.open(client.link())
    answer = sent_back(await person.answer(page, "refuse", agent=""))
    assert answer["error"] == "access_denied"
    assert (await person.open(page.url)).status == 400  # the question is over


async def test_two_pages_side_by_side_do_not_disturb_each_other(
    client: HandClient, person: Person
) -> None:
    first, second = await person.open(client.link()), await person.open(client.link())
    for page in (first, second):
        code = await client.hub.codes.make()
        assert (await person.answer(page, code=code)).status == 303


@pytest.mark.parametrize("request_id", ["", "made-up", "x" * 5_000, "%00", "../x"])
async def test_a_page_for_no_request_says_what_to_do(
    client: HandClient, person: Person, request_id: str
) -> None:
    page = await person.open(f"{client.hub.url}/oauth/sign-in?request={request_id}")
    assert page.status == 400
    assert "Start it again from your program" in page.text


async def test_a_link_from_any_page_leads_here_but_no_picture_does(
    client: HandClient, person: Person
) -> None:
    link = client.link()
    document = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
    async with person.session.get(link, headers=document) as response:
        assert response.status == 200
    for target in ("image", "iframe"):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": target}
        async with person.session.get(link, headers=headers) as response:
            assert response.status == 403


@pytest.mark.parametrize(
    ("name", "agent"),
    [
        ("Claude Code", "claude-code"),
        ("https://ide.example:8443/client.json", "ide.example"),
        ("  -- Ünïcode --", "n-code"),
        ("", ""),
        ("x" * 80, "x" * 64),
    ],
)
def test_an_agent_id_is_suggested(name: str, agent: str) -> None:
    assert suggested(name) == agent


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("https://ide.example/callback", "https://ide.example"),
        ("http://127.0.0.1:33418/callback", "http://127.0.0.1:33418"),
        ("http://[::1]:33418/callback", "http:"),
        ("https://ide.example;sandbox/callback", "https:"),
        ("https://ide.example,x/callback", "https:"),
        ("https://*.example/callback", "https:"),
        ("vscode://ide;sandbox/callback", "vscode:"),
    ],
)
def test_a_clients_words_do_not_become_the_pages_policy(uri: str, target: str) -> None:
    assert form_target(uri) == target


async def test_where_the_answer_goes_is_part_of_the_page(
    client: HandClient, person: Person
) -> None:
    ipv6 = CALLBACK.replace("127.0.0.1", "[::1]")
    client.hub.site.document["redirect_uris"] = [ipv6]
    page = await person.open(client.link(redirect_uri=ipv6))
    assert "form-action 'self' http:;" in page.headers["Content-Security-Policy"]
    code = await client.hub.codes.make()
    response = await person.answer(page, code=code)
    assert response.headers["Location"].startswith("http://[::1]:33418/callback?code=")

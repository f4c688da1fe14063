"""An outside OpenID provider says who a person is; the hub believes only what it can check."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import pytest
from aiohttp import ClientResponse
from cryptography.hazmat.primitives.asymmetric import ec

from agent_hub.clock import SystemClock
from tests.oauth.client import HandClient, Storage, sdk_auth, signed_in_ide
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.identity import CLIENT_ID, SECRET, Identity, identity_provider
from tests.oauth.person import Page, Person, sent_back
from tests.oauth.site import Site

_ONWARD = re.compile(r'content="0;url=([^"]*)"')


@pytest.fixture
async def identity() -> AsyncIterator[Identity]:
    async with identity_provider() as identity:
        yield identity


def settings(identity: Identity, *allowed: str) -> dict[str, Any]:
    return {
        "oidc_issuer": identity.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": SECRET,
        "oidc_allow": allowed or ("ada@example.com",),
    }


@pytest.fixture
async def hub(site: Site, identity: Identity) -> AsyncIterator[SignInHub]:
    """By the machine's clock, as the provider is."""
    async with sign_in_hub(SystemClock(), site, **settings(identity)) as hub:
        yield hub


async def way_there(client: HandClient, person: Person, agent: str = "beta") -> str:
    """Agree, and be sent to the provider: its address."""
    page = await person.open(client.link())
    response = await person.answer(page, "outside", agent=agent)
    assert response.status == 200, await response.text()
    found = _ONWARD.search(await response.text())
    assert found is not None
    return unescape(found.group(1))


async def go(person: Person, url: str) -> ClientResponse:
    async with person.session.get(url, allow_redirects=False) as response:
        await response.read()
        return response


async def come_back(client: HandClient, person: Person, agent: str = "beta") -> ClientResponse:
    """Sign in there, and come back: the hub's answer."""
    there = await go(person, await way_there(client, person, agent))
    return await go(person, there.headers["Location"])


async def test_the_page_leads_to_the_provider(
    client: HandClient, person: Person, identity: Identity
) -> None:
    page = await person.open(client.link())
    assert f"Agree and sign in at\n{identity.issuer.removeprefix('http://')}" in page.text.replace(
        "at ", "at\n"
    )
    assert "I have a login code" in page.text


async def test_who_comes_back_is_who_the_provider_says(
    client: HandClient, person: Person, identity: Identity
) -> None:
    answer = sent_back(await come_back(client, person))
    assert answer["iss"] == client.hub.url
    assert (await client.exchange(answer["code"])).status == 200
    [session] = await client.hub.sessions.all()
    assert session.subject == f"oidc:{identity.issuer} 7"
    assert session.person == "ada@example.com"
    assert session.proof == identity.issuer
    assert session.agent == "beta"


async def test_an_ide_signs_in_by_the_provider(
    client: HandClient, person: Person, identity: Identity, era: str
) -> None:
    async def sign_in(url: str) -> dict[str, str]:
        page = await person.open(url)
        response = await person.answer(page, "outside", agent="beta")
        found = _ONWARD.search(await response.text())
        assert found is not None
        there = await go(person, unescape(found.group(1)))
        return sent_back(await go(person, there.headers["Location"]))

    storage = Storage()
    async with signed_in_ide(client.hub, sdk_auth(client.hub, storage, sign_in), era) as ide:
        me = await ide.call("get_my_identity")
        assert me["caller"]["subject"] == f"oidc:{identity.issuer} 7"
        await ide.call("checkin_client", client_id="beta", name="Beta")


async def test_a_login_code_is_good_beside_it(client: HandClient, person: Person) -> None:
    answer = await person.agree(client.link(), await client.hub.codes.make())
    assert (await client.exchange(answer["code"])).status == 200


# --- what is believed -------------------------------------------------------------------------


async def refused(client: HandClient, person: Person) -> Page:
    response = await come_back(client, person)
    assert "Location" not in response.headers
    assert response.status == 403, await response.text()
    assert await client.hub.sessions.all() == []
    return Page(response, await response.text())


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"nonce": 7},
        {"nonce": "\ud800"},
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": ["another client"]},
        {"aud": [CLIENT_ID, "another client"]},
        {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
        {"azp": "another client"},
        {"aud": {"agent-hub": 1}},
        {"exp": 1},
        {"exp": "tomorrow"},
        {"exp": 10**400},
        {"iat": 1},
        {"iat": 99_999_999_999},
        {"sub": ""},
        {"sub": 7},
        {"sub": "\ud800"},
    ],
    ids=str,
)
async def test_an_id_token_that_says_the_wrong_thing_proves_nobody(
    client: HandClient, person: Person, identity: Identity, claims: dict[str, Any]
) -> None:
    identity.claims = claims
    await refused(client, person)


@pytest.mark.parametrize("name", ["nonce", "iss", "aud", "exp", "iat", "sub"])
async def test_an_id_token_that_leaves_something_out_proves_nobody(
    client: HandClient, person: Person, identity: Identity, name: str
) -> None:
    identity.without = {name}
    await refused(client, person)


async def test_an_id_token_that_somebody_else_signed_proves_nobody(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.key = ec.generate_private_key(ec.SECP256R1())
    await refused(client, person)


@pytest.mark.parametrize("algorithm", ["HS256", "none"])
async def test_an_id_token_without_a_private_key_proves_nobody(
    client: HandClient, person: Person, identity: Identity, algorithm: str
) -> None:
    identity.algorithm = algorithm
    identity.key = SECRET * 8 if algorithm == "HS256" else None
    await refused(client, person)


@pytest.mark.parametrize("headers", [{"kid": "two"}, {"crit": ["x"], "x": 1}], ids=str)
async def test_an_id_token_with_other_headers_proves_nobody(
    client: HandClient, person: Person, identity: Identity, headers: dict[str, Any]
) -> None:
    identity.headers = headers
    await refused(client, person)


async def test_an_answer_of_another_provider_is_not_taken(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.answer = {"iss": "https://evil.example"}
    await refused(client, person)
    assert identity.exchanges == []  # the code was shown to nobody


async def test_a_provider_that_says_whose_its_answers_are_must_do_so(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.metadata = {"authorization_response_iss_parameter_supported": True}
    await refused(client, person)
    assert identity.exchanges == []
    identity.answer = {"iss": identity.issuer}
    assert (await come_back(client, person)).status == 303


async def test_metadata_of_another_issuer_is_not_believed(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.metadata = {"issuer": "https://evil.example"}
    page = await person.open(client.link())
    response = await person.answer(page, "outside")
    assert response.status == 503
    assert "Try again" in await response.text()


async def test_secrets_do_not_go_in_the_clear(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.metadata = {"token_endpoint": "http://id.example/token"}
    page = await person.open(client.link())
    assert (await person.answer(page, "outside")).status == 503


# --- state, and the browser that it belongs to -------------------------------------------------


@pytest.mark.parametrize("state", ["", "made-up"])
async def test_an_answer_to_no_question_counts_for_nothing(
    client: HandClient, person: Person, state: str
) -> None:
    await way_there(client, person)
    response = await go(person, f"{client.hub.url}/oauth/callback?code=x&state={state}")
    assert response.status == 400
    assert "Location" not in response.headers


async def test_an_answer_in_another_browser_counts_for_nothing(
    client: HandClient, person: Person, identity: Identity
) -> None:
    """Somebody who began a sign-in cannot have another one finish it."""
    there = await go(person, await way_there(client, person))
    async with Person() as victim:
        await victim.open(client.link())
        response = await go(victim, there.headers["Location"])
        assert response.status == 403
        assert "Location" not in response.headers
    assert identity.exchanges == []


async def test_an_answer_counts_once(client: HandClient, person: Person) -> None:
    there = await go(person, await way_there(client, person))
    assert (await go(person, there.headers["Location"])).status == 303
    assert (await go(person, there.headers["Location"])).status == 400


async def test_the_page_cannot_be_answered_while_its_person_is_away(
    client: HandClient, person: Person
) -> None:
    page = await person.open(client.link())
    await person.answer(page, "outside")
    again = await person.answer(page, code=await client.hub.codes.make())
    assert again.status == 400


async def test_who_is_refused_there_is_refused_here(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.answer = {"code": "", "error": "access_denied"}
    answer = sent_back(await come_back(client, person))
    assert answer["error"] == "access_denied"
    assert "code" not in answer


async def test_a_stolen_code_is_of_no_use_here(
    client: HandClient, person: Person, identity: Identity
) -> None:
    """The provider gave it for another verifier."""
    identity.answer = {"code": "code-of-somebody-else"}
    identity.asked["code-of-somebody-else"] = {
        "code_challenge": "x" * 43,
        "redirect_uri": f"{client.hub.url}/oauth/callback",
        "nonce": "x",
    }
    await refused(client, person)


# --- who may come in --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "person_is", "comes_in"),
    [
        ("ada@example.com", {}, True),
        ("ADA@example.com", {}, True),
        ("@example.com", {}, True),
        ("sub:7", {}, True),
        ("sub:7", {"email": None}, True),
        ("*", {"email": None}, True),
        ("bob@example.com", {}, False),
        ("@ample.com", {}, False),
        ("@example.com", {"email": "ada@example.com.evil.example"}, False),
        ("@example.com", {"email": "ada@evil.example@example.com"}, False),
        ("ada@example.com", {"email_verified": False}, False),
        ("ada@example.com", {"email_verified": None}, False),
        ("ada@example.com", {"email_verified": "yes"}, False),
        ("ada@example.com", {"email": ["ada@example.com"]}, False),
        ("sub:70", {}, False),
        ("sub:ada@example.com", {}, False),
        ("ada@example.com", {"sub": "ada@example.com", "email": None}, False),
    ],
)
async def test_only_those_come_in_whom_the_operator_lets_in(
    site: Site,
    identity: Identity,
    person: Person,
    allowed: str,
    person_is: dict[str, Any],
    comes_in: bool,
) -> None:
    identity.person |= person_is
    async with sign_in_hub(SystemClock(), site, **settings(identity, allowed)) as hub:
        response = await come_back(HandClient(hub), person)
        assert ("Location" in response.headers) is comes_in
        assert response.status == (303 if comes_in else 403)


async def test_an_address_may_have_to_be_asked_for(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.without = {"email", "email_verified"}
    identity.userinfo = {"sub": "7", "email": "ada@example.com", "email_verified": True}
    assert (await come_back(client, person)).status == 303


async def test_an_address_of_somebody_else_is_not_believed(
    client: HandClient, person: Person, identity: Identity
) -> None:
    identity.without = {"email", "email_verified"}
    identity.userinfo = {"sub": "8", "email": "ada@example.com", "email_verified": True}
    await refused(client, person)


async def test_an_agent_of_somebody_else_cannot_be_chosen(
    client: HandClient, person: Person, identity: Identity
) -> None:
    answer = sent_back(await come_back(client, person))
    tokens = await (await client.exchange(answer["code"])).json()
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    async with client.hub.hub.session.post(
        "/api/v1/agents/register", json={"agent_id": "beta"}, headers=headers
    ) as registered:
        assert registered.status == 201
    identity.person["sub"] = "8"
    response = await come_back(client, person)
    assert response.status == 403
    assert "belongs to somebody else" in await response.text()
    identity.person["sub"] = "7"
    assert (await come_back(client, person)).status == 303


async def test_without_a_provider_nobody_comes_back_from_one(site: Site, person: Person) -> None:
    async with sign_in_hub(SystemClock(), site) as hub:
        client = HandClient(hub)
        page = await person.open(client.link())
        assert (await person.answer(page, "outside")).status == 403
        assert (await person.open(f"{hub.url}/oauth/callback?state=x&code=y")).status == 404

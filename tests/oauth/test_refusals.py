"""What must not work: each of these is somebody's way in if it does."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from aiohttp import ClientResponse
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent_hub.auth.oauth.clients import CLIENT_SECONDS, UNUSED_SECONDS
from agent_hub.auth.store import Kind
from agent_hub.auth.tokens import Tokens
from tests.clock import ManualClock
from tests.oauth.client import VERIFIER, HandClient
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.person import Person, sent_back
from tests.oauth.site import CALLBACK, Site


async def error_of(response: ClientResponse) -> str:
    assert response.status in (400, 401), await response.text()
    return str((await response.json())["error"])


# --- the question -----------------------------------------------------------------------------


async def asked(client: HandClient, **changed: str | None) -> ClientResponse:
    link = client.link(**changed)
    async with client.hub.hub.session.get(link, allow_redirects=False) as response:
        await response.read()
        return response


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge": VERIFIER},
        {"code_challenge": ""},
        {"code_challenge": "x" * 42 + "="},
    ],
    ids=["no PKCE", "no challenge", "plain", "no method", "the verifier", "empty", "padded"],
)
async def test_without_an_s256_challenge_nobody_is_asked(
    client: HandClient, changed: dict[str, str | None]
) -> None:
    answer = sent_back(await asked(client, **changed))
    assert answer["error"] == "invalid_request"


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        CALLBACK + "/more",
        CALLBACK + "?more=1",
        CALLBACK.replace("/callback", "/callback/../callback2"),
        CALLBACK.replace("127.0.0.1", "localhost"),
        CALLBACK.replace("http:", "https:"),
        CALLBACK.replace("127.0.0.1", "127.0.0.1@evil.example"),
        CALLBACK.replace("127.0.0.1", "user@127.0.0.1"),
        CALLBACK + "#fragment",
        "javascript:alert(1)",
    ],
)
async def test_a_browser_is_sent_nowhere_that_was_not_registered(
    client: HandClient, uri: str
) -> None:
    response = await asked(client, redirect_uri=uri)
    assert response.status == 400
    assert "Location" not in response.headers


async def test_an_https_redirect_has_one_port(client: HandClient) -> None:
    client.hub.site.document["redirect_uris"] = ["https://ide.example/callback"]
    response = await asked(client, redirect_uri="https://ide.example:444/callback")
    assert response.status == 400


@pytest.mark.parametrize(
    "resource", ["https://other.example/mcp", "/mcp", "http://127.0.0.1/mcp", ""]
)
async def test_a_token_for_another_resource_cannot_be_asked_for(
    client: HandClient, resource: str
) -> None:
    answer = sent_back(await asked(client, resource=resource))
    assert answer["error"] == "invalid_target"


async def test_nothing_but_a_code_is_given(client: HandClient) -> None:
    answer = sent_back(await asked(client, response_type="token"))
    assert answer["error"] == "unsupported_response_type"


async def test_a_scope_that_is_not_given_here_cannot_be_asked_for(client: HandClient) -> None:
    assert sent_back(await asked(client, scope="admin"))["error"] == "invalid_scope"


async def test_no_parameter_may_stand_twice(client: HandClient) -> None:
    link = client.link() + "&redirect_uri=https%3A%2F%2Fevil.example"
    async with client.hub.hub.session.get(link, allow_redirects=False) as response:
        assert await error_of(response) == "invalid_request"
        assert "Location" not in response.headers


async def test_an_unknown_client_is_sent_nowhere(client: HandClient) -> None:
    for client_id in ("nobody", "", "https://ide.example", "http://ide.example/client.json"):
        response = await asked(client, client_id=client_id)
        assert response.status == 400
        assert "Location" not in response.headers


async def test_nobody_registers_where_that_is_not_switched_on(hub: SignInHub) -> None:
    form = {"redirect_uris": [CALLBACK]}
    async with hub.hub.session.post("/register", json=form) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["http://evil.example/callback"]},
        {"redirect_uris": ["https://user@evil.example/callback"]},
        {"redirect_uris": ["https://evil.example/callback#x"]},
        {"redirect_uris": ["data:text/html,x"]},
        {"redirect_uris": [f"https://evil.example/{number}" for number in range(21)]},
        {"client_name": "x" * 20_000},
        {"token_endpoint_auth_method": "client_secret_basic"},
    ],
)
async def test_a_bad_registration_is_refused(
    clock: ManualClock, site: Site, changed: dict[str, Any]
) -> None:
    async with sign_in_hub(clock, site, oauth_dynamic_registration=True) as hub:
        form = {"redirect_uris": [CALLBACK], **changed}
        async with hub.hub.session.post("/register", json=form) as response:
            assert response.status == 400
        assert await hub.store.entries(Kind.CLIENT) == []


async def test_only_so_many_clients_are_registered(
    clock: ManualClock, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_hub.auth.oauth.clients.MAX_CLIENTS", 2)
    async with sign_in_hub(clock, site, oauth_dynamic_registration=True) as hub:
        statuses = []
        for _ in range(3):
            form = {"redirect_uris": [CALLBACK]}
            async with hub.hub.session.post("/register", json=form) as response:
                statuses.append(response.status)
        assert statuses == [201, 201, 400]


async def test_a_registered_client_that_nobody_signs_in_with_is_forgotten_after_a_day(
    clock: ManualClock, site: Site
) -> None:
    async with sign_in_hub(clock, site, oauth_dynamic_registration=True) as hub:
        names = []
        for _ in range(2):
            form = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
            async with hub.hub.session.post("/register", json=form) as response:
                names.append((await response.json())["client_id"])
        used, unused = names
        client = HandClient(hub)
        await client.code(client_id=used)
        clock.pass_by(UNUSED_SECONDS - 1)
        assert await hub.store.get(Kind.CLIENT, unused) is not None
        clock.pass_by(1)
        assert [entry.key for entry in await hub.store.entries(Kind.CLIENT)] == [used]
        await client.code(client_id=used)
        clock.pass_by(CLIENT_SECONDS - 1)
        await client.code(client_id=used)


async def test_a_registered_client_must_show_its_secret(clock: ManualClock, site: Site) -> None:
    async with sign_in_hub(clock, site, oauth_dynamic_registration=True) as hub:
        form = {"redirect_uris": [CALLBACK]}
        async with hub.hub.session.post("/register", json=form) as response:
            registered = await response.json()
        client, name = HandClient(hub), registered["client_id"]
        code = await client.code(client_id=name)
        refused = await client.exchange(code, client_id=name)
        assert await error_of(refused) == "invalid_client"
        guessed = await client.exchange(code, client_id=name, client_secret="guessed")
        assert await error_of(guessed) == "invalid_client"
        secret = registered["client_secret"]
        assert (await client.exchange(code, client_id=name, client_secret=secret)).status == 200


async def test_a_network_that_asks_for_ever_is_told_to_wait(client: HandClient) -> None:
    statuses = [(await asked(client)).status for _ in range(61)]
    assert statuses == [302] * 60 + [429]


# --- codes ------------------------------------------------------------------------------------


async def test_a_code_is_good_once_and_whoever_shows_it_again_ends_what_it_began(
    client: HandClient, clock: ManualClock
) -> None:
    code = await client.code()
    tokens = await (await client.exchange(code)).json()
    assert await client.call(tokens["access_token"]) == 200
    assert await error_of(await client.exchange(code)) == "invalid_grant"
    clock.pass_by(1)
    assert await client.call(tokens["access_token"]) == 401
    assert await error_of(await client.refresh(tokens["refresh_token"])) == "invalid_grant"


async def test_a_code_is_good_for_ten_minutes(client: HandClient, clock: ManualClock) -> None:
    first, second = await client.code(), await client.code()
    clock.pass_by(599)
    assert (await client.exchange(first)).status == 200
    clock.pass_by(1)
    assert await error_of(await client.exchange(second)) == "invalid_grant"


@pytest.mark.parametrize("verifier", ["w" * 64, "", "v" * 63])
async def test_a_code_without_its_verifier_is_nothing(client: HandClient, verifier: str) -> None:
    code = await client.code()
    refused = await client.exchange(code, code_verifier=verifier)
    assert await error_of(refused) == "invalid_grant"
    assert (await client.exchange(code)).status == 200


async def test_a_code_for_one_redirect_is_not_taken_with_another(client: HandClient) -> None:
    code = await client.code()
    other = CALLBACK.replace("33418", "33419")
    assert await error_of(await client.exchange(code, redirect_uri=other)) == "invalid_request"


async def test_a_code_is_for_the_client_that_asked(client: HandClient) -> None:
    code = await client.code()
    site = client.hub.site
    site.document = {**site.document, "client_id": site.url("other.json")}
    refused = await client.exchange(code, client_id=site.url("other.json"))
    assert await error_of(refused) == "invalid_grant"


async def test_a_code_gives_no_token_for_another_resource(client: HandClient) -> None:
    code = await client.code()
    refused = await client.exchange(code, resource="https://other.example/mcp")
    assert await error_of(refused) == "invalid_target"


async def test_a_code_of_one_issuer_is_not_taken_by_another(client: HandClient) -> None:
    code = await client.code()
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "client_id": client.hub.site.client_id,
        "code_verifier": VERIFIER,
    }
    other = f"http://localhost:{client.hub.hub.port}/token"
    async with client.hub.hub.session.post(other, data=form) as response:
        assert await error_of(response) == "invalid_grant"


async def test_of_two_exchanges_at_once_one_counts(client: HandClient) -> None:
    code = await client.code()
    both = await asyncio.gather(client.exchange(code), client.exchange(code))
    assert sorted(one.status for one in both) == [200, 400]


# --- refresh tokens ---------------------------------------------------------------------------


async def test_a_refresh_token_shown_twice_ends_its_family(
    client: HandClient, clock: ManualClock
) -> None:
    first = await client.tokens()
    assert first.refresh_token is not None
    second = await (await client.refresh(first.refresh_token)).json()
    assert await client.call(second["access_token"]) == 200
    assert await error_of(await client.refresh(first.refresh_token)) == "invalid_grant"
    clock.pass_by(1)
    assert await client.call(second["access_token"]) == 401
    assert await client.call(first.access_token) == 401
    assert await error_of(await client.refresh(second["refresh_token"])) == "invalid_grant"
    assert await client.hub.sessions.all() == []


async def test_a_refresh_gives_no_more_than_the_person_agreed_to(client: HandClient) -> None:
    code = await client.code(scope="message:read")
    tokens = await (await client.exchange(code)).json()
    for scope in ("message:send", "admin"):
        refused = await client.refresh(tokens["refresh_token"], scope=scope)
        assert await error_of(refused) == "invalid_scope"


async def test_a_refresh_token_is_for_the_client_that_has_it(client: HandClient) -> None:
    tokens = await client.tokens()
    assert tokens.refresh_token is not None
    site = client.hub.site
    site.document = {**site.document, "client_id": site.url("other.json")}
    refused = await client.refresh(tokens.refresh_token, client_id=site.url("other.json"))
    assert await error_of(refused) == "invalid_grant"


async def test_one_kind_of_token_is_not_taken_for_the_other(client: HandClient) -> None:
    tokens = await client.tokens()
    assert tokens.refresh_token is not None
    assert await client.call(tokens.refresh_token) == 401
    assert await error_of(await client.refresh(tokens.access_token)) == "invalid_grant"


async def test_a_made_up_refresh_token_ends_nobodys_session(client: HandClient) -> None:
    tokens = await client.tokens()
    assert tokens.refresh_token is not None
    for made_up in ("x", tokens.refresh_token[:-4] + "AAAA", "a.b.c"):
        assert await error_of(await client.refresh(made_up)) == "invalid_grant"
    assert await client.call(tokens.access_token) == 200


# --- revocation -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_what_is_revoked_ends_with_its_session(
    client: HandClient, clock: ManualClock, kind: str
) -> None:
    tokens = await client.tokens()
    text = getattr(tokens, kind)
    assert (await client.revoke(text, token_type_hint=kind)).status == 200
    clock.pass_by(1)
    assert await client.call(tokens.access_token) == 401
    assert tokens.refresh_token is not None
    assert await error_of(await client.refresh(tokens.refresh_token)) == "invalid_grant"


async def test_a_revoked_jti_is_refused_though_its_session_stands(
    client: HandClient, clock: ManualClock
) -> None:
    tokens = await client.tokens()
    jti = jwt.decode(tokens.access_token, options={"verify_signature": False})["jti"]
    assert await client.call(tokens.access_token) == 200
    await client.hub.store.put(Kind.REVOKED, jti, b"")
    clock.pass_by(1)
    assert await client.call(tokens.access_token) == 401
    assert tokens.refresh_token is not None
    assert (await client.refresh(tokens.refresh_token)).status == 200


async def test_nobody_revokes_what_another_client_has(client: HandClient) -> None:
    tokens = await client.tokens()
    site = client.hub.site
    site.document = {**site.document, "client_id": site.url("other.json")}
    assert tokens.refresh_token is not None
    for text in (tokens.access_token, tokens.refresh_token):
        assert (await client.revoke(text, client_id=site.url("other.json"))).status == 200
    assert await client.call(tokens.access_token) == 200


async def test_what_is_no_token_is_revoked_without_a_word(client: HandClient) -> None:
    assert (await client.revoke("no token")).status == 200


# --- access tokens ----------------------------------------------------------------------------


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def shared(said: str, secret: bytes) -> str:
    """What is said, with a signature that everybody with this secret can make."""
    made = hmac.new(secret, said.encode(), hashlib.sha256).digest()
    return f"{said}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


async def forged(client: HandClient, changed: dict[str, Any], kind: str = "at+jwt") -> str:
    """A token that the hub's own key signed, with other claims."""
    tokens = await client.tokens()
    claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
    return await client.hub.keys.sign({**claims, **changed}, kind)


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://other.example/mcp"},
        {"aud": ["https://other.example/mcp"]},
        {"iss": "https://other.example"},
        {"iss": "http://localhost.evil.example", "aud": "http://localhost.evil.example/mcp"},
        {"iss": "http://127.0.0.1:8080/x", "aud": "http://127.0.0.1:8080/x/mcp"},
        {"exp": 1},
        {"sid": "no session"},
        {"agent": None},
        {"sub": 7},
    ],
    ids=",".join,
)
async def test_a_token_that_says_the_wrong_thing_is_refused(
    client: HandClient, changed: dict[str, Any]
) -> None:
    assert await client.call(await forged(client, {})) == 200
    assert await client.call(await forged(client, changed)) == 401


@pytest.mark.parametrize("kind", ["JWT", "rt+jwt", "at+JWT", ""])
async def test_a_token_of_another_type_is_refused(client: HandClient, kind: str) -> None:
    assert await client.call(await forged(client, {}, kind)) == 401


async def test_nobody_else_can_sign(client: HandClient) -> None:
    tokens = await client.tokens()
    headers = jwt.get_unverified_header(tokens.access_token)
    body = tokens.access_token.split(".")[1]
    async with client.hub.hub.session.get("/.well-known/jwks.json") as found:
        keys = jwt.PyJWKSet.from_dict(await found.json())
    public = keys[headers["kid"]].key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    attempts = {
        "alg none": f"{part({**headers, 'alg': 'none'})}.{body}.",
        "no signature": tokens.access_token.rpartition(".")[0] + ".",
        "HS256 with the public key": shared(f"{part({**headers, 'alg': 'HS256'})}.{body}", public),
        "a kid of nobody": f"{part({**headers, 'kid': 'hub-0000'})}.{body}.AAAA",
        "a kid that is a path": f"{part({**headers, 'kid': 'hub-/../../x'})}.{body}.AAAA",
        "jku": f"{part({**headers, 'jku': 'https://evil.example'})}.{body}.AAAA",
        "crit": f"{part({**headers, 'crit': ['x'], 'x': 1})}.{body}.AAAA",
    }
    for name, text in attempts.items():
        assert await client.call(text) == 401, name
    assert await client.call(tokens.access_token) == 200


async def test_an_expired_access_token_is_refused(client: HandClient, clock: ManualClock) -> None:
    tokens = await client.tokens()
    clock.pass_by(899)
    assert await client.call(tokens.access_token) == 200
    clock.pass_by(1)
    assert await client.call(tokens.access_token) == 401


async def test_a_token_acts_only_as_its_agent(client: HandClient) -> None:
    tokens = await client.tokens("beta")
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    draft = {"from": "alpha", "to": "beta", "message": "I am alpha"}
    async with client.hub.hub.session.post(
        "/api/v1/messages", json=draft, headers=headers
    ) as refused:
        assert refused.status == 403


async def test_an_agent_of_somebody_else_cannot_be_chosen(
    client: HandClient, person: Person
) -> None:
    tokens = await client.tokens("beta")
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    async with client.hub.hub.session.post(
        "/api/v1/agents/register", json={"agent_id": "beta"}, headers=headers
    ) as answer:
        assert answer.status == 201
    page = await person.open(client.link())
    code = await client.hub.codes.make(name="somebody else")
    refused = await person.answer(page, agent="beta", code=code)
    assert refused.status == 403
    assert "belongs to somebody else" in await refused.text()
    assert (await person.answer(page, agent="gamma", code=code)).status == 303


async def test_an_agent_as_which_another_is_signed_in_cannot_be_chosen(
    client: HandClient, person: Person
) -> None:
    """Nobody has registered it: whoever is signed in as it could read its mail."""
    await client.tokens("beta")
    page = await person.open(client.link())
    code = await client.hub.codes.make(name="somebody else")
    refused = await person.answer(page, agent="beta", code=code)
    assert refused.status == 403
    again = await client.tokens("beta")  # the same person may, from another program
    assert await client.call(again.access_token) == 200


async def test_an_agent_that_a_token_was_made_for_cannot_be_chosen(
    client: HandClient, person: Person
) -> None:
    await Tokens(client.hub.store, client.hub.clock.time).create(["beta"])
    page = await person.open(client.link())
    refused = await person.answer(page, agent="beta", code=await client.hub.codes.make())
    assert refused.status == 403
    assert "belongs to somebody else" in await refused.text()


# --- the page ---------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://127.0.0.1:1"])
async def test_an_answer_from_another_page_counts_for_nothing(
    client: HandClient, person: Person, origin: str | None
) -> None:
    page = await person.open(client.link())
    code = await client.hub.codes.make()
    refused = await person.answer(page, code=code, origin=origin)
    assert refused.status == 403
    assert "Location" not in refused.headers
    assert (await person.answer(page, code=code)).status == 303


async def test_an_answer_from_another_browser_counts_for_nothing(
    client: HandClient, person: Person
) -> None:
    page = await person.open(client.link())
    code = await client.hub.codes.make()
    async with Person() as other:
        assert (await other.answer(page, code=code)).status == 403
        await other.open(client.link())  # it has a cookie now, of its own
        assert (await other.answer(page, code=code)).status == 403


async def test_an_answer_without_the_pages_proof_counts_for_nothing(
    client: HandClient, person: Person
) -> None:
    page, other = await person.open(client.link()), await person.open(client.link())
    code = await client.hub.codes.make()
    for proof in ("", "0" * 64, other.fields["proof"]):
        assert (await person.answer(page, code=code, proof=proof)).status == 403


async def test_a_login_code_is_good_once(client: HandClient, person: Person) -> None:
    code = await client.hub.codes.make()
    await person.agree(client.link(), code)
    page = await person.open(client.link())
    assert (await person.answer(page, code=code)).status == 403


async def test_a_login_code_is_good_for_ten_minutes(
    client: HandClient, person: Person, clock: ManualClock
) -> None:
    code = await client.hub.codes.make()
    clock.pass_by(600)
    page = await person.open(client.link())
    assert (await person.answer(page, code=code)).status == 403


async def test_login_codes_cannot_be_guessed_for_ever(client: HandClient, person: Person) -> None:
    page = await person.open(client.link())
    code = await client.hub.codes.make()
    for _ in range(20):
        refused = await person.answer(page, code="AAAA-AAAA-AAAA")
        assert "not good" in await refused.text()
    refused = await person.answer(page, code=code)
    assert "Too many wrong codes" in await refused.text()


async def test_a_request_is_answered_once(client: HandClient, person: Person) -> None:
    page = await person.open(client.link())
    sent_back(await person.answer(page, code=await client.hub.codes.make()))
    again = await person.answer(page, code=await client.hub.codes.make())
    assert again.status == 400
    assert "This sign-in is over" in await again.text()


async def test_a_request_waits_for_ten_minutes(
    client: HandClient, person: Person, clock: ManualClock
) -> None:
    page = await person.open(client.link())
    clock.pass_by(600)
    late = await person.answer(page, code=await client.hub.codes.make())
    assert late.status == 400


@pytest.mark.parametrize("agent", ["", "ALL", "hub", "..", "a b", "<script>", "x" * 65])
async def test_what_cannot_be_an_agent_is_none(
    client: HandClient, person: Person, agent: str
) -> None:
    page = await person.open(client.link())
    code = await client.hub.codes.make()
    refused = await person.answer(page, agent=agent, code=code)
    assert refused.status == 403
    assert "<script>" not in await refused.text()
    assert (await person.answer(page, code=code)).status == 303  # the code is good still


async def test_only_these_routes_take_a_form(hub: SignInHub) -> None:
    for path in ("/mcp", "/api/v1/messages", "/register", "/authorize"):
        async with hub.hub.session.post(path, data={"a": "b"}) as response:
            assert response.status == 415, path


async def test_a_form_that_is_too_long_is_refused(client: HandClient) -> None:
    refused = await client.post("/token", code="x" * 70_000)
    assert refused.status == 413


async def test_the_sdks_own_clock_decides_nothing(client: HandClient, clock: ManualClock) -> None:
    """The hub's clock here is far from the machine's; codes and tokens are good all the same."""
    assert abs(clock.time() - time.time()) > 86_400
    tokens = await client.tokens()
    assert await client.call(tokens.access_token) == 200

"""What a client finds and is given, step by step."""

from __future__ import annotations

import jwt
import pytest
from aiohttp import ClientSession
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

from tests.clock import ManualClock
from tests.oauth.client import HandClient, Storage, sdk_auth, signed_in_ide
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.person import Person, sent_back
from tests.oauth.site import CALLBACK, Site

RESOURCE = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"


async def test_without_a_credential_the_challenge_says_where_to_read_on(
    hub: SignInHub, client: HandClient
) -> None:
    refused = await client.called(None)
    assert refused.status == 401
    where = f"{hub.url}{RESOURCE}/mcp"
    assert f'resource_metadata="{where}"' in refused.headers["WWW-Authenticate"]
    assert "error=" not in refused.headers["WWW-Authenticate"]
    async with ClientSession() as session, session.get(where) as found:
        metadata = ProtectedResourceMetadata.model_validate_json(await found.read())
    assert str(metadata.resource) == hub.mcp
    assert [str(server) for server in metadata.authorization_servers] == [hub.url]
    assert metadata.bearer_methods_supported == ["header"]


async def test_a_bad_credential_is_told_so_and_where_to_read_on(
    hub: SignInHub, client: HandClient
) -> None:
    refused = await client.called("made up")
    assert refused.status == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    assert f"{RESOURCE}/mcp" in refused.headers["WWW-Authenticate"]


async def test_the_rest_door_sends_nobody_to_sign_in(hub: SignInHub) -> None:
    async with hub.hub.session.get("/api/v1/agents") as refused:
        assert refused.status == 401
        assert "resource_metadata" not in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize("path", [RESOURCE, f"{RESOURCE}/mcp", f"{RESOURCE}/mcp/"])
async def test_the_resource_is_described_wherever_clients_look(hub: SignInHub, path: str) -> None:
    async with hub.hub.session.get(path) as found:
        assert (await found.json())["resource"] == hub.mcp


async def test_the_server_describes_itself(hub: SignInHub) -> None:
    async with hub.hub.session.get(SERVER) as found:
        assert found.content_type == "application/json"
        whole = await found.json()
    metadata = OAuthMetadata.model_validate(whole)
    assert whole["issuer"] == hub.url
    assert metadata.code_challenge_methods_supported == ["S256"]
    assert metadata.client_id_metadata_document_supported
    assert metadata.authorization_response_iss_parameter_supported
    assert metadata.registration_endpoint is None
    assert whole["token_endpoint_auth_methods_supported"] == ["none", "client_secret_post"]


async def test_without_documents_no_site_is_asked_and_clients_are_told(
    clock: ManualClock, site: Site, person: Person
) -> None:
    async with sign_in_hub(
        clock, site, oauth_client_documents=False, oauth_dynamic_registration=True
    ) as hub:
        async with hub.hub.session.get(SERVER) as found:
            assert (await found.json())["client_id_metadata_document_supported"] is False

        async def go(url: str) -> dict[str, str]:
            return await person.agree(url, await hub.codes.make())

        storage = Storage()
        async with signed_in_ide(hub, sdk_auth(hub, storage, go), "legacy") as ide:
            await ide.call("get_my_identity")
        page = await person.open(HandClient(hub).link())
        assert page.status == 400
    assert site.asked == []


async def test_each_name_of_this_machine_is_an_issuer_of_its_own(hub: SignInHub) -> None:
    url = f"http://localhost:{hub.hub.port}"
    async with ClientSession() as session, session.get(url + SERVER) as found:
        assert (await found.json())["issuer"] == url


async def test_a_public_address_is_the_issuer_whatever_a_request_says(
    clock: ManualClock, site: Site
) -> None:
    async with sign_in_hub(clock, site, public_url="https://Hub.example/") as hub:
        async with hub.hub.session.get(SERVER) as found:
            assert (await found.json())["issuer"] == "https://hub.example"
        refused = await HandClient(hub).called(None)
        assert (
            f'resource_metadata="https://hub.example{RESOURCE}/mcp"'
            in (refused.headers["WWW-Authenticate"])
        )


async def test_an_access_token_says_who_it_is_for_and_until_when(
    hub: SignInHub, client: HandClient, clock: ManualClock
) -> None:
    tokens = await client.tokens("beta")
    async with hub.hub.session.get("/.well-known/jwks.json") as found:
        keys = jwt.PyJWKSet.from_dict(await found.json())
    headers = jwt.get_unverified_header(tokens.access_token)
    assert headers["typ"] == "at+jwt"
    assert headers["alg"] == "ES256"
    claims = jwt.decode(
        tokens.access_token,
        keys[headers["kid"]],
        algorithms=["ES256"],
        audience=hub.mcp,
        issuer=hub.url,
        options={"verify_exp": False, "verify_iat": False, "strict_aud": True},
    )
    [session] = await hub.sessions.all()
    assert claims["sid"] == session.id
    assert claims["agent"] == "beta"
    assert claims["client_id"] == hub.site.client_id
    assert claims["exp"] - clock.time() == tokens.expires_in == 900
    assert {"jti", "sub", "scope", "iat"} <= set(claims)


async def test_a_shared_secret_signs_only_where_it_is_asked_for(
    clock: ManualClock, site: Site
) -> None:
    async with sign_in_hub(clock, site, oauth_algorithm="HS256") as hub:
        client = HandClient(hub)
        tokens = await client.tokens()
        assert jwt.get_unverified_header(tokens.access_token)["alg"] == "HS256"
        assert await client.call(tokens.access_token) == 200
        async with hub.hub.session.get("/.well-known/jwks.json") as found:
            assert await found.json() == {"keys": []}


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_every_kind_of_key_signs_and_verifies(
    clock: ManualClock, site: Site, algorithm: str
) -> None:
    async with sign_in_hub(clock, site, oauth_algorithm=algorithm) as hub:
        client = HandClient(hub)
        tokens = await client.tokens()
        assert jwt.get_unverified_header(tokens.access_token)["alg"] == algorithm
        assert await client.call(tokens.access_token) == 200
        async with hub.hub.session.get("/.well-known/jwks.json") as found:
            [key] = (await found.json())["keys"]
        assert key["alg"] == algorithm
        assert not {"d", "p", "q", "k"} & set(key)


async def test_the_answer_says_whose_it_is(client: HandClient, person: Person) -> None:
    code = await client.hub.codes.make()
    answer = await person.agree(client.link(), code)
    assert answer["iss"] == client.hub.url
    assert answer["state"] == "st4te"
    assert set(answer) == {"code", "state", "iss"}


async def test_a_refusal_is_sent_back_and_says_whose_it_is(
    client: HandClient, person: Person
) -> None:
    page = await person.open(client.link())
    answer = sent_back(await person.answer(page, "refuse"))
    assert answer["error"] == "access_denied"
    assert answer["iss"] == client.hub.url
    assert answer["state"] == "st4te"


async def test_a_faulty_question_is_sent_back_and_says_whose_the_answer_is(
    client: HandClient,
) -> None:
    link = client.link(code_challenge=None)
    async with client.hub.hub.session.get(link, allow_redirects=False) as response:
        answer = sent_back(response)
    assert answer["error"] == "invalid_request"
    assert answer["iss"] == client.hub.url


async def test_on_this_machine_a_program_may_use_any_port(client: HandClient) -> None:
    elsewhere = CALLBACK.replace("33418", "1234")
    code = await client.code(redirect_uri=elsewhere)
    assert (await client.exchange(code, redirect_uri=elsewhere)).status == 200


@pytest.mark.parametrize("known", ["http://127.0.0.1", "http://127.0.0.1/"])
@pytest.mark.parametrize("asked", ["http://127.0.0.1:1234", "http://127.0.0.1:1234/"])
async def test_a_redirect_without_a_path_is_one_with_an_empty_path(
    client: HandClient, known: str, asked: str
) -> None:
    client.hub.site.document["redirect_uris"] = [known]
    code = await client.code(redirect_uri=asked)
    assert (await client.exchange(code, redirect_uri=asked)).status == 200


async def test_a_page_that_the_operator_named_may_sign_its_visitors_in(
    clock: ManualClock, site: Site
) -> None:
    page = "https://inspector.example"
    async with sign_in_hub(clock, site, cors_origin=(page,)) as hub:
        asks = {"Origin": page, "Access-Control-Request-Method": "POST"}
        for path in ("/token", "/revoke", "/mcp"):
            async with hub.hub.session.options(path, headers=asks) as allowed:
                assert allowed.status == 204
                assert allowed.headers["Access-Control-Allow-Origin"] == page
        for path in (SERVER, f"{RESOURCE}/mcp"):
            async with hub.hub.session.get(path, headers={"Origin": page}) as found:
                assert found.headers["Access-Control-Allow-Origin"] == page
        async with hub.hub.session.get(SERVER, headers={"Origin": "https://evil.example"}) as no:
            assert no.status == 403


async def test_a_program_may_have_a_scheme_of_its_own(client: HandClient, person: Person) -> None:
    client.hub.site.document["redirect_uris"] = ["vscode://example.ide/callback"]
    link = client.link(redirect_uri="vscode://example.ide/callback")
    page = await person.open(link)
    assert "form-action 'self' vscode:;" in page.headers["Content-Security-Policy"]
    response = await person.answer(page, code=await client.hub.codes.make())
    assert response.headers["Location"].startswith("vscode://example.ide/callback?code=")


async def test_less_may_be_asked_for(client: HandClient) -> None:
    code = await client.code(scope="message:read openid")
    tokens = await (await client.exchange(code)).json()
    assert tokens["scope"] == "message:read"
    refused = await client.called(
        tokens["access_token"],
        "send_message",
        sender_id="beta",
        recipient_id="alpha",
        message="hello",
    )
    assert refused.status == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert 'scope="message:send"' in refused.headers["WWW-Authenticate"]


async def test_a_refresh_may_ask_for_less_once(client: HandClient) -> None:
    first = await client.tokens()
    assert first.refresh_token is not None
    less = await (await client.refresh(first.refresh_token, scope="message:read")).json()
    assert less["scope"] == "message:read"
    whole = await (await client.refresh(less["refresh_token"])).json()
    assert whole["scope"] == first.scope


async def test_a_login_code_decides_who_and_as_what(client: HandClient, person: Person) -> None:
    hub = client.hub
    code = await hub.codes.make(name="ada", agents=["beta-*"], scopes=["message:read"])
    page = await person.open(client.link())
    refused = await person.answer(page, agent="alpha", code=code)
    assert refused.status == 403
    assert "This login code is for beta-*" in await refused.text()
    answer = sent_back(await person.answer(page, agent="beta-1", code=code))
    tokens = await (await client.exchange(answer["code"])).json()
    assert tokens["scope"] == "message:read"
    [session] = await hub.sessions.all()
    assert (session.subject, session.agent, session.proof) == (
        "person:ada",
        "beta-1",
        "login code",
    )


async def test_the_token_opens_the_other_doors_too(client: HandClient) -> None:
    tokens = await client.tokens("beta")
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    session = client.hub.hub.session
    async with session.post(
        "/api/v1/agents/register", json={"agent_id": "beta"}, headers=headers
    ) as answer:
        assert answer.status == 201
    async with session.ws_connect("/ws/beta", headers=headers) as socket:
        assert (await socket.receive_json())["type"] == "hub.welcome"

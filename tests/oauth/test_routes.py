"""Which doors stand open on a hub that people sign in to, and what is kept of who came."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.clock import ManualClock
from tests.oauth.client import HandClient
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.identity import CLIENT_ID, identity_provider
from tests.oauth.person import Person
from tests.oauth.site import Site

OPEN = {
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/oauth-protected-resource"),
    ("GET", "/.well-known/oauth-protected-resource/mcp"),
    ("GET", "/.well-known/oauth-protected-resource/mcp/"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/authorize"),
    ("POST", "/token"),
    ("POST", "/revoke"),
    ("POST", "/register"),
    ("GET", "/oauth/sign-in"),
    ("POST", "/oauth/sign-in"),
    ("GET", "/oauth/callback"),
}
"""All that signing in adds."""


def routes(hub: SignInHub) -> set[tuple[str, str]]:
    found = hub.hub.app.router.routes()
    return {
        (route.method, route.resource.canonical)
        for route in found
        if route.resource is not None and route.method != "HEAD"
    }


async def test_signing_in_opens_these_routes_and_no_other(clock: ManualClock, site: Site) -> None:
    async with sign_in_hub(clock, site, auth=("token",)) as without:
        before = routes(without)
    async with (
        identity_provider() as identity,
        sign_in_hub(
            clock,
            site,
            oauth_dynamic_registration=True,
            oidc_issuer=identity.issuer,
            oidc_client_id=CLIENT_ID,
            oidc_allow=("*",),
        ) as hub,
    ):
        assert routes(hub) - before == OPEN


async def test_what_was_not_asked_for_is_not_there(hub: SignInHub) -> None:
    there = routes(hub)
    assert ("POST", "/register") not in there
    assert ("GET", "/oauth/callback") not in there


async def test_without_oauth_nothing_of_it_is_there(clock: ManualClock, site: Site) -> None:
    async with sign_in_hub(clock, site, auth=("token",)) as hub:
        assert not routes(hub) & OPEN


@pytest.fixture
async def audited(clock: ManualClock, site: Site, tmp_path: Path) -> list[dict[str, str]]:
    """What is kept of a sign-in, a wrong code, a renewal that was shown twice, a revocation."""
    path = tmp_path / "audit.log"
    async with sign_in_hub(clock, site, audit_log=str(path)) as hub:
        client = HandClient(hub)
        async with Person() as person:
            page = await person.open(client.link())
            await person.answer(page, agent="beta", code="WRON-GGGG-CODE")
        tokens = await client.tokens("beta")
        assert tokens.refresh_token is not None
        await client.refresh(tokens.refresh_token)
        await client.refresh(tokens.refresh_token)
        other = await client.tokens("gamma")
        await client.revoke(other.access_token)
        secrets = [tokens.access_token, tokens.refresh_token, other.access_token]
    text = path.read_text()
    assert not any(secret in text for secret in [*secrets, "WRON"])
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["action"] in ("sign_in", "replay", "revoke")]


async def test_who_signed_in_is_kept_and_never_by_what(audited: list[dict[str, str]]) -> None:
    kept = [(line["action"], line["outcome"], line.get("agent")) for line in audited]
    assert kept == [
        ("sign_in", "forbidden", None),
        ("sign_in", "ok", "beta"),
        ("replay", "ok", "beta"),
        ("sign_in", "ok", "gamma"),
        ("revoke", "ok", "gamma"),
    ]
    assert audited[1]["subject"] == "person:owner"
    assert audited[2]["credential"].startswith("oauth:")
    assert audited[0]["peer"] == "127.0.0.1"

"""A stranger names an address; the hub fetches nothing but what the whole world can reach."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from agent_hub.auth.oauth.documents import Documents, is_document_url, is_public
from tests.clock import ManualClock
from tests.oauth.site import HOST, Site

INNER = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001:0:1:2:3:4:5:6",
    "fe80::1",
    "fec0::1",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
]


@pytest.fixture
def documents(site: Site, clock: ManualClock) -> Documents:
    return site.documents(clock)


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111"])
def test_an_address_of_the_world_is_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


async def test_a_document_says_who_a_client_is(site: Site, documents: Documents) -> None:
    client = await documents.find(site.client_id)
    assert client is not None
    assert client.label == "Example IDE"
    assert client.token_endpoint_auth_method == "none"


@pytest.mark.parametrize("address", [address for address in INNER if address != "127.0.0.1"])
async def test_a_name_for_an_inner_address_is_not_connected_to(
    site: Site, documents: Documents, address: str
) -> None:
    site.addresses = [address]
    assert await documents.find(site.client_id) is None
    assert site.asked == []


async def test_a_name_that_is_half_inside_is_not_connected_to(
    site: Site, documents: Documents
) -> None:
    site.addresses = ["127.0.0.1", "10.0.0.1"]  # the first one is this site's own
    assert await documents.find(site.client_id) is None
    assert site.asked == []


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "2130706433",
        "0x7f.0.0.1",
        "017700000001",
        "127.1",
        "localhost",
        "%31%32%37.0.0.1",
    ],
)
async def test_an_inner_address_in_any_spelling_is_not_connected_to(
    site: Site, clock: ManualClock, host: str
) -> None:
    documents = Documents(clock)  # as the hub has it, with the system's resolver
    assert await documents.find(site.url("client.json", host)) is None
    assert site.asked == []


async def test_the_name_is_resolved_once_and_what_was_checked_is_connected_to(
    site: Site, clock: ManualClock
) -> None:
    answers = [["127.0.0.1"], ["169.254.169.254"]]

    async def changing(host: str, port: int) -> list[str]:
        return answers.pop(0)

    documents = site.documents(clock, resolve=changing)
    assert await documents.find(site.client_id) is not None
    assert answers == [["169.254.169.254"]]
    clock.pass_by(301)
    assert await documents.find(site.client_id) is not None  # stale: the new address is refused
    assert answers == []
    assert site.asked == ["/client.json"]


@pytest.mark.parametrize(
    "target", ["https://169.254.169.254/", "http://127.0.0.1/", f"https://{HOST}/other.json"]
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    site: Site, documents: Documents, target: str, status: int
) -> None:
    site.answers["/client.json"] = web.Response(status=status, headers={"Location": target})
    assert await documents.find(site.client_id) is None
    assert site.asked == ["/client.json"]


@pytest.mark.parametrize(
    "changed",
    [
        {"client_id": "https://ide.example/other.json"},
        {"client_id": None},
        {"redirect_uris": []},
        {"redirect_uris": None},
        {"redirect_uris": ["http://evil.example/"]},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"client_secret": "s"},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"grant_types": 7},
    ],
    ids=str,
)
async def test_a_document_that_is_none_is_no_client(
    site: Site, documents: Documents, changed: dict[str, object]
) -> None:
    site.document = {**site.document, **changed}
    assert await documents.find(site.client_id) is None


async def test_a_document_that_is_too_deep_to_be_read_is_none_and_not_fetched_again(
    site: Site, documents: Documents
) -> None:
    site.answers["/client.json"] = web.Response(body=b"[" * 5_000, content_type="application/json")
    for _ in range(2):
        assert await documents.find(site.client_id) is None
    assert site.asked == ["/client.json"]


async def test_a_long_document_is_not_read(site: Site, documents: Documents) -> None:
    site.document = {**site.document, "x": "x" * 65_536}
    assert await documents.find(site.client_id) is None


async def test_an_endless_document_is_not_read_either(site: Site, clock: ManualClock) -> None:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 1024

    site.answers["/client.json"] = web.Response(body=parts(), content_type="application/json")
    assert await site.documents(clock).find(site.client_id) is None


async def test_a_page_is_no_document(site: Site, documents: Documents) -> None:
    site.answers["/client.json"] = web.Response(text="<html>", content_type="text/html")
    assert await documents.find(site.client_id) is None


async def test_a_site_that_answers_late_is_not_waited_for(
    site: Site, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_hub.auth.oauth.documents.FETCH_SECONDS", 0.05)

    async def parts() -> AsyncIterator[bytes]:
        import asyncio

        await asyncio.Event().wait()
        yield b""

    site.answers["/client.json"] = web.Response(body=parts(), content_type="application/json")
    assert await documents.find(site.client_id) is None


async def test_a_certificate_must_be_good(site: Site, clock: ManualClock) -> None:
    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    strict = Documents(clock, resolve=here, allows=lambda address: True)
    assert await strict.find(site.client_id) is None  # of an authority that nobody knows
    wrong_name = site.documents(clock, resolve=here)
    assert await wrong_name.find(site.url("client.json", "other.example")) is None
    assert site.asked == []


async def test_a_document_is_fetched_once_in_five_minutes(
    site: Site, documents: Documents, clock: ManualClock
) -> None:
    for _ in range(3):
        assert await documents.find(site.client_id) is not None
    clock.pass_by(299)
    await documents.find(site.client_id)
    assert len(site.asked) == 1
    clock.pass_by(1)
    await documents.find(site.client_id)
    assert len(site.asked) == 2


async def test_a_site_that_is_away_for_a_while_does_not_lose_its_people(
    site: Site, documents: Documents, clock: ManualClock
) -> None:
    assert await documents.find(site.client_id) is not None
    clock.pass_by(300)
    site.answers["/client.json"] = web.Response(status=503)
    assert await documents.find(site.client_id) is not None
    clock.pass_by(300)
    site.answers["/client.json"] = web.Response(status=404)  # it is no client any more
    assert await documents.find(site.client_id) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://ide.example/client.json",
        "https://ide.example",
        "https://ide.example/",
        "https://ide.example/a/../b",
        "https://ide.example/./b",
        "https://user@ide.example/b",
        "https://user:password@ide.example/b",
        "https://ide.example/b#c",
        "https://ide.example:0/b",
        "https://ide.example:99999/b",
        "https:///b",
        "https://ide.example\\@evil.example/b",
        "https://ide.example/ b",
        "https://idé.example/b",
        f"https://ide.example/{'b' * 500}",
        "ftp://ide.example/b",
    ],
)
def test_what_is_no_address_of_a_document_is_not_fetched(url: str) -> None:
    assert not is_document_url(url)

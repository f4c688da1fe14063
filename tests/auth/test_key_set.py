"""The issuer's keys: fetched when needed, and no more often than that."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent_hub.auth.fetching import MAX_BYTES
from agent_hub.auth.key_set import (
    FRESH_SECONDS,
    PAUSE_SECONDS,
    STALE_SECONDS,
    KeySet,
    keys_of,
    source,
)
from agent_hub.core.errors import BackendUnavailable, Unauthenticated
from tests.auth.issuer import Issuer
from tests.clock import ManualClock, settle
from tests.listening import listening


class Shown:
    """What an issuer shows; it may be away."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.kids = ["ec"]
        self.more: dict[str, Any] = {}
        self.fetches = 0
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> bytes:
        self.fetches += 1
        await self.gate.wait()
        if self.is_away:
            raise OSError("no route to the issuer")
        keys = [self.issuer.jwk(kid, **self.more) for kid in self.kids]
        return json.dumps({"keys": keys}).encode()


ISSUER = Issuer(0)


@pytest.fixture
def shown() -> Shown:
    return Shown(ISSUER)


@pytest.fixture
def keys(shown: Shown, clock: ManualClock) -> KeySet:
    return KeySet(shown.fetch, clock)


async def test_keys_are_fetched_once_and_again_when_they_are_old(
    keys: KeySet, shown: Shown, clock: ManualClock
) -> None:
    for _ in range(3):
        await keys.key("ec", "ES256")
    assert shown.fetches == 1
    clock.pass_by(FRESH_SECONDS + 1)
    await keys.key("ec", "ES256")
    assert shown.fetches == 2


async def test_a_new_key_is_found(keys: KeySet, shown: Shown, clock: ManualClock) -> None:
    await keys.key("ec", "ES256")
    shown.kids = ["ec", "rsa"]
    clock.pass_by(PAUSE_SECONDS)
    await keys.key("rsa", "RS256")
    assert shown.fetches == 2


async def test_made_up_names_cause_at_most_one_fetch_in_a_pause(
    keys: KeySet, shown: Shown, clock: ManualClock
) -> None:
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await keys.key(f"made up {number}", "ES256")
    assert shown.fetches == 1
    clock.pass_by(PAUSE_SECONDS)
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await keys.key(f"made up {number}", "ES256")
    assert shown.fetches == 2


async def test_told_to_read_again_the_keys_are_fetched_once_whatever_the_pause(
    keys: KeySet, shown: Shown
) -> None:
    await keys.key("ec", "ES256")
    shown.is_away = True
    keys.read_again()
    await keys.key("ec", "ES256")
    assert shown.fetches == 2
    shown.kids, shown.is_away = ["ec", "rsa"], False
    await keys.key("ec", "ES256")
    assert shown.fetches == 2
    keys.read_again()
    await keys.key("rsa", "RS256")
    assert shown.fetches == 3


async def test_many_who_ask_at_once_share_one_fetch(keys: KeySet, shown: Shown) -> None:
    shown.gate.clear()
    asking = [asyncio.ensure_future(keys.key("ec", "ES256")) for _ in range(10)]
    await settle()
    asking[0].cancel()  # its caller hung up; the others go on
    shown.gate.set()
    await asyncio.gather(*asking[1:])
    assert shown.fetches == 1


async def test_a_key_that_the_issuer_took_back_is_good_no_more(
    keys: KeySet, shown: Shown, clock: ManualClock
) -> None:
    shown.kids = ["ec", "rsa"]
    await keys.key("rsa", "RS256")
    shown.kids = ["ec"]
    clock.pass_by(FRESH_SECONDS + 1)
    with pytest.raises(Unauthenticated):
        await keys.key("rsa", "RS256")


async def test_keys_outlive_an_absence_of_the_issuer_for_a_while(
    keys: KeySet, shown: Shown, clock: ManualClock
) -> None:
    await keys.key("ec", "ES256")
    shown.is_away = True
    clock.pass_by(STALE_SECONDS)
    await keys.key("ec", "ES256")
    clock.pass_by(1)
    with pytest.raises(BackendUnavailable):
        await keys.key("ec", "ES256")
    shown.is_away = False
    clock.pass_by(PAUSE_SECONDS)
    await keys.key("ec", "ES256")


async def test_without_any_keys_nobody_is_told_that_the_token_was_bad(
    keys: KeySet, shown: Shown
) -> None:
    shown.is_away = True
    with pytest.raises(BackendUnavailable):
        await keys.key("ec", "ES256")


async def test_a_token_without_a_key_name_is_of_the_only_key_that_fits(
    keys: KeySet, shown: Shown
) -> None:
    shown.kids = ["ec", "rsa"]
    assert (await keys.key(None, "ES256")).key_id == "ec"


async def test_two_keys_of_one_name_are_none(shown: Shown, clock: ManualClock) -> None:
    shown.kids = ["ec", "ec"]
    with pytest.raises(Unauthenticated):
        await KeySet(shown.fetch, clock).key("ec", "ES256")


@pytest.mark.parametrize("more", [{"use": "enc"}, {"alg": "ES384"}, {"key_ops": ["sign"]}])
async def test_a_key_for_something_else_is_not_used(
    shown: Shown, clock: ManualClock, more: dict[str, Any]
) -> None:
    shown.more = more
    with pytest.raises(Unauthenticated):
        await KeySet(shown.fetch, clock).key("ec", "ES256")


async def test_a_key_that_is_broken_is_none(clock: ManualClock) -> None:
    async def fetch() -> bytes:
        return b'{"keys": [{"kty": "EC", "kid": "ec", "crv": "P-256", "x": "!", "y": "!"}]}'

    with pytest.raises(Unauthenticated):
        await KeySet(fetch, clock).key("ec", "ES256")


TOO_MANY = b'{"keys": [' + b"{}," * 100 + b"{}]}"


@pytest.mark.parametrize("text", [b"[]", b'{"keys": {}}', b"{}", TOO_MANY])
def test_what_is_no_set_of_keys_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no set"):
        keys_of(text)


# --- where they come from -------------------------------------------------------------------


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Of a server with keys, and with other things that it should not have."""

    async def keys(request: web.Request) -> web.Response:
        return web.Response(body=b'{"keys": []}')

    async def strict(request: web.Request) -> web.Response:
        """What Kubernetes answers: it knows its keys by no type but their own."""
        accepted = request.headers["Accept"]
        if "application/jwk-set+json" not in accepted and "*/*" not in accepted:
            raise web.HTTPNotAcceptable
        return web.Response(body=b'{"keys": []}', content_type="application/jwk-set+json")

    async def endless(request: web.Request) -> web.Response:
        return web.Response(body=b" " * (MAX_BYTES + 1))

    async def deep(request: web.Request) -> web.Response:
        return web.Response(body=b"[" * 5_000)

    async def elsewhere(request: web.Request) -> web.Response:
        raise web.HTTPFound("/keys")

    app = web.Application()
    app.router.add_get("/keys", keys)
    app.router.add_get("/strict", strict)
    app.router.add_get("/endless", endless)
    app.router.add_get("/deep", deep)
    app.router.add_get("/elsewhere", elsewhere)
    async with listening(app) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("path", ["keys", "strict"])
async def test_keys_come_by_http_from_this_machine(address: str, path: str) -> None:
    assert await source(f"{address}/{path}")() == b'{"keys": []}'


@pytest.mark.parametrize("path", ["endless", "deep", "elsewhere", "nowhere"])
async def test_what_is_too_much_or_elsewhere_is_not_taken(
    address: str, clock: ManualClock, path: str
) -> None:
    keys = KeySet(source(f"{address}/{path}"), clock)
    with pytest.raises(BackendUnavailable):
        await keys.key("ec", "ES256")


async def test_keys_come_from_a_file(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(json.dumps({"keys": [ISSUER.jwk("ec")]}).encode())
    await KeySet(source(str(path)), clock).key("ec", "ES256")
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(BackendUnavailable):
        await KeySet(source(str(path)), clock).key("ec", "ES256")


@pytest.mark.parametrize(
    "where", ["http://issuer.example/keys", "ftp://issuer.example", "file:///x"]
)
def test_keys_do_not_come_in_the_clear(where: str) -> None:
    with pytest.raises(ValueError, match="https"):
        source(where)

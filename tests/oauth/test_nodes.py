"""A restart and a second node: whatever store two processes share, nothing is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent_hub.auth.store import CredentialStore
from tests.auth.stores import SHARED, STORES
from tests.clock import ManualClock
from tests.oauth.client import HandClient
from tests.oauth.hubs import SignInHub, sign_in_hub
from tests.oauth.site import Site

PUBLIC = "http://localhost:1"
"""Nobody listens there: a balancer would. Not https, whose cookies a plain connection lacks."""


class Nodes:
    """Starts hubs with a store each, which is the same one underneath."""

    def __init__(self, stack: AsyncExitStack, kind: str, folder: Path, site: Site) -> None:
        self._stack = stack
        self._kind = kind
        self._folder = folder
        self._site = site
        self.clock = ManualClock()

    def store(self) -> CredentialStore:
        return STORES[self._kind](self._folder, self.clock.time)

    async def start(self) -> SignInHub:
        return await self._stack.enter_async_context(
            sign_in_hub(self.clock, self._site, self.store(), public_url=PUBLIC)
        )

    async def stop_all(self) -> None:
        await self._stack.aclose()


@pytest.fixture(params=SHARED)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path, site: Site) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        yield Nodes(stack, str(request.param), tmp_path, site)


async def test_after_a_restart_sessions_tokens_revocations_and_keys_hold(nodes: Nodes) -> None:
    before = HandClient(await nodes.start())
    kept, revoked = await before.tokens("beta"), await before.tokens("gamma")
    assert kept.refresh_token is not None
    assert revoked.refresh_token is not None
    renewed = await (await before.refresh(kept.refresh_token)).json()
    await before.revoke(revoked.access_token)
    unused = await before.code("delta")
    login = await before.hub.codes.make()
    await nodes.stop_all()

    after = HandClient(await nodes.start())
    assert await after.call(kept.access_token) == 200
    assert await after.call(revoked.access_token) == 401
    assert (await after.refresh(revoked.refresh_token)).status == 400
    assert (await after.exchange(unused)).status == 200
    async with after.person() as person:
        assert "code" in await person.agree(after.link(), login)
    again = await after.refresh(renewed["refresh_token"])
    assert again.status == 200
    assert (await after.refresh(kept.refresh_token)).status == 400  # used before the restart
    nodes.clock.pass_by(1)
    assert await after.call((await again.json())["access_token"]) == 401  # and its family is dead


async def test_a_sign_in_may_wander_from_node_to_node(nodes: Nodes) -> None:
    one, other = await nodes.start(), await nodes.start()
    client = HandClient(one, other)
    code = await client.hub.codes.make()
    async with client.person() as person:
        page = await person.open(client.link())
        refused = await person.answer(page, code="wrong")
        assert refused.status == 403
        answer = await person.agree(client.link(), code)
    tokens = await (await HandClient(other).exchange(answer["code"])).json()
    assert await HandClient(one).call(tokens["access_token"]) == 200
    assert (await HandClient(one).refresh(tokens["refresh_token"])).status == 200


async def test_a_code_is_good_once_on_all_nodes_together(nodes: Nodes) -> None:
    one, other = HandClient(await nodes.start()), HandClient(await nodes.start())
    code = await one.code()
    tokens = await (await one.exchange(code)).json()
    assert (await other.exchange(code)).status == 400
    nodes.clock.pass_by(1)
    assert await one.call(tokens["access_token"]) == 401


async def test_a_refresh_token_is_good_once_on_all_nodes_together(nodes: Nodes) -> None:
    one, other = HandClient(await nodes.start()), HandClient(await nodes.start())
    tokens = await one.tokens()
    assert tokens.refresh_token is not None
    renewed = await (await one.refresh(tokens.refresh_token)).json()
    assert (await other.refresh(tokens.refresh_token)).status == 400
    nodes.clock.pass_by(1)
    assert await one.call(renewed["access_token"]) == 401


async def test_what_one_node_ends_is_over_on_the_other_within_a_second(nodes: Nodes) -> None:
    one, other = HandClient(await nodes.start()), HandClient(await nodes.start())
    tokens = await one.tokens()
    assert await other.call(tokens.access_token) == 200
    await one.revoke(tokens.access_token)
    nodes.clock.pass_by(1)
    assert await other.call(tokens.access_token) == 401


async def test_a_use_at_one_node_extends_the_session_at_the_other(nodes: Nodes) -> None:
    one, other = HandClient(await nodes.start()), HandClient(await nodes.start())
    tokens = await one.tokens()
    nodes.clock.pass_by(600)
    assert await one.call(tokens.access_token) == 200
    nodes.clock.pass_by(3_599)
    assert tokens.refresh_token is not None
    assert (await other.refresh(tokens.refresh_token)).status == 200


async def test_a_key_that_was_rotated_on_one_node_is_known_on_the_other(nodes: Nodes) -> None:
    one, other = HandClient(await nodes.start()), HandClient(await nodes.start())
    before = await one.tokens("beta")
    nodes.clock.pass_by(1)
    await one.hub.keys.rotate()
    nodes.clock.pass_by(30)
    after = await one.tokens("gamma")
    for tokens in (before, after):
        assert await other.call(tokens.access_token) == 200

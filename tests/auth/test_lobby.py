"""Connections on which nobody has shown a credential are so many for each address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent_hub.app import GATE
from agent_hub.web.lobby import PLACES_OF_AN_ADDRESS, Lobby
from tests.auth.guarded import Guarded, bearer, guarded_hub
from tests.clock import ManualClock
from tests.server import running_hub
from tests.web.raw import RawConnection, connected
from tests.web.waiting import until

PLACES = 3


def lobby_of(guarded: Guarded) -> Lobby:
    lobby = guarded.hub.app[GATE].lobby
    assert lobby is not None
    return lobby


@pytest.fixture
async def guarded(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Guarded]:
    async with guarded_hub(tmp_path, clock) as guarded:
        lobby_of(guarded).places = PLACES
        yield guarded
        lobby_of(guarded).places = PLACES_OF_AN_ADDRESS


async def open_some(stack: AsyncExitStack, guarded: Guarded, count: int) -> list[RawConnection]:
    """So many connections that the hub has taken."""
    made = [await stack.enter_async_context(connected(guarded.hub)) for _ in range(count)]
    await until(lambda: len(lobby_of(guarded)) >= count)
    return made


async def is_cut(connection: RawConnection) -> bool:
    try:
        return await connection.reader.read(1) == b""
    except ConnectionError:
        return True


async def test_one_too_many_is_cut_off(guarded: Guarded) -> None:
    async with AsyncExitStack() as stack:
        await open_some(stack, guarded, PLACES)
        assert await is_cut(await stack.enter_async_context(connected(guarded.hub)))


async def test_a_good_credential_gives_its_place_to_another(guarded: Guarded) -> None:
    headers = bearer(await guarded.token())
    async with AsyncExitStack() as stack:
        for _ in range(2 * PLACES):
            connection = await stack.enter_async_context(connected(guarded.hub))
            await connection.request("GET", "/api/v1/agents", headers=headers)
            assert (await connection.answer()).status == 200


async def test_a_bad_one_does_not(guarded: Guarded) -> None:
    async with AsyncExitStack() as stack:
        for connection in await open_some(stack, guarded, PLACES):
            await connection.request("GET", "/api/v1/agents", headers=bearer("made-up"))
            assert (await connection.answer()).status == 401
        assert await is_cut(await stack.enter_async_context(connected(guarded.hub)))


async def test_who_leaves_makes_room(guarded: Guarded) -> None:
    async with AsyncExitStack() as stack:
        await open_some(stack, guarded, PLACES)
    await until(lambda: len(lobby_of(guarded)) == 0)
    async with AsyncExitStack() as stack:
        await open_some(stack, guarded, PLACES)


async def test_a_trusted_proxy_speaks_for_many(tmp_path: Path, clock: ManualClock) -> None:
    async with (
        guarded_hub(tmp_path, clock, trusted_proxy=("127.0.0.1",)) as guarded,
        AsyncExitStack() as stack,
    ):
        lobby_of(guarded).places = 0
        connection = await stack.enter_async_context(connected(guarded.hub))
        await connection.request("GET", "/livez")
        assert (await connection.answer()).status == 200


async def test_a_hub_that_asks_for_nothing_counts_nothing() -> None:
    async with running_hub() as hub:
        assert hub.app[GATE].lobby is None


def test_a_host_with_many_ipv6_addresses_has_one_count() -> None:
    lobby = Lobby(places=2)
    assert [lobby.enter(number, f"2001:db8::{number:x}") for number in range(3)] == [
        True,
        True,
        False,
    ]
    assert lobby.enter("other", "2001:db8:0:1::1")
    lobby.leave(0)
    lobby.leave(0)
    assert lobby.enter("again", "2001:db8::ffff")

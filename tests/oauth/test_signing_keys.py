"""Keys are made once, rotated with an overlap, and shared by all nodes."""

from __future__ import annotations

import asyncio

import jwt
import pytest

from agent_hub.auth.memory_store import MemoryStore
from agent_hub.auth.oauth.signing_keys import OVERLAP_SECONDS, SigningKeys
from agent_hub.auth.store import Kind
from agent_hub.core.errors import Unauthenticated
from tests.clock import ManualClock

CLAIMS = {"sub": "somebody"}


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock.time)


async def node(store: MemoryStore, clock: ManualClock, algorithm: str = "ES256") -> SigningKeys:
    keys = SigningKeys(store, clock, algorithm)
    await keys.open()
    return keys


async def test_a_key_is_made_at_the_first_start_and_never_again(
    store: MemoryStore, clock: ManualClock
) -> None:
    first = await node(store, clock)
    token = await first.sign(CLAIMS, "x")
    second = await node(store, clock)
    assert len(await store.entries(Kind.SIGNING_KEY)) == 1
    assert await second.verify(token, "x") == CLAIMS


async def test_after_a_rotation_the_old_key_verifies_for_a_while(
    store: MemoryStore, clock: ManualClock
) -> None:
    keys = await node(store, clock)
    old = await keys.sign(CLAIMS, "x")
    kid = await keys.rotate()
    new = await keys.sign(CLAIMS, "x")
    assert jwt.get_unverified_header(new)["kid"] == kid
    clock.pass_by(OVERLAP_SECONDS - 1)
    assert await keys.verify(old, "x") == CLAIMS
    assert len((await keys.public())["keys"]) == 2
    clock.pass_by(31)
    with pytest.raises(Unauthenticated):
        await keys.verify(old, "x")
    assert await keys.verify(new, "x") == CLAIMS
    assert len((await keys.public())["keys"]) == 1


async def test_a_second_rotation_does_not_prolong_the_first_key(
    store: MemoryStore, clock: ManualClock
) -> None:
    keys = await node(store, clock)
    old = await keys.sign(CLAIMS, "x")
    await keys.rotate()
    clock.pass_by(OVERLAP_SECONDS - 60)
    await keys.rotate()
    clock.pass_by(60 + 31)
    with pytest.raises(Unauthenticated):
        await keys.verify(old, "x")


async def test_a_node_takes_at_once_what_another_signed_with_a_new_key(
    store: MemoryStore, clock: ManualClock
) -> None:
    here, there = await node(store, clock), await node(store, clock)
    clock.pass_by(1)
    kid = await there.rotate()
    assert await here.verify(await there.sign(CLAIMS, "x"), "x") == CLAIMS
    clock.pass_by(30)
    assert jwt.get_unverified_header(await here.sign(CLAIMS, "x"))["kid"] == kid


async def test_two_nodes_that_start_at_once_understand_each_other(
    store: MemoryStore, clock: ManualClock
) -> None:
    here, there = SigningKeys(store, clock), SigningKeys(store, clock)
    await asyncio.gather(here.open(), there.open())
    clock.pass_by(1)
    assert await here.verify(await there.sign(CLAIMS, "x"), "x") == CLAIMS
    assert await there.verify(await here.sign(CLAIMS, "x"), "x") == CLAIMS


async def test_a_made_up_key_name_costs_the_store_one_reading_a_second(
    store: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = await node(store, clock)
    token = jwt.encode(CLAIMS, "s" * 32, headers={"kid": "hub-0", "typ": "x"})
    clock.pass_by(1)
    readings = []
    entries = store.entries

    async def counted(kind: Kind) -> list[object]:
        readings.append(kind)
        return list(await entries(kind))

    monkeypatch.setattr(store, "entries", counted)
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await keys.verify(token, "x")
    assert len(readings) == 1


async def test_a_rotation_keeps_the_algorithm(store: MemoryStore, clock: ManualClock) -> None:
    keys = await node(store, clock, "EdDSA")
    other = SigningKeys(store, clock)  # the command line, without the hub's flags
    await other.rotate()
    clock.pass_by(30)
    assert jwt.get_unverified_header(await keys.sign(CLAIMS, "x"))["alg"] == "EdDSA"
    assert len(await store.entries(Kind.SIGNING_KEY)) == 2

"""Keys are made once, rotated with an overlap, and shared by all nodes."""

from __future__ import annotations

import asyncio

import jwt
import msgspec
import pytest

from agent_hub.auth.oauth.signing_keys import OVERLAP_SECONDS, SigningKey, SigningKeys
from agent_hub.auth.sealed import is_sealed, new_key
from agent_hub.auth.store import Kind
from agent_hub.core.errors import BackendUnavailable, Unauthenticated
from tests.auth.memory_store import MemoryStore
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


# --- sealed -------------------------------------------------------------------------------

KEY, ANOTHER_KEY = new_key(), new_key()
ALGORITHMS = ("ES256", "HS256")
"""One with a pair of keys, and the one with a secret alone."""


async def sealing(
    store: MemoryStore, clock: ManualClock, algorithm: str = "ES256", *, secret_key: str = KEY
) -> SigningKeys:
    keys = SigningKeys(store, clock, algorithm, secret_key=secret_key)
    await keys.open()
    return keys


async def secrets_in(store: MemoryStore) -> list[str]:
    entries = await store.entries(Kind.SIGNING_KEY)
    return [msgspec.json.decode(entry.value, type=SigningKey).secret for entry in entries]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_with_a_secret_key_none_lies_open_in_the_store(
    store: MemoryStore, clock: ManualClock, algorithm: str
) -> None:
    keys = await sealing(store, clock, algorithm)
    token = await keys.sign(CLAIMS, "x")
    await keys.rotate()
    assert len(await secrets_in(store)) == 2
    assert all(map(is_sealed, await secrets_in(store)))
    again = await sealing(store, clock, algorithm)
    assert await again.verify(token, "x") == CLAIMS
    assert await keys.verify(await again.sign(CLAIMS, "x"), "x") == CLAIMS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_keys_from_before_there_was_a_secret_key_are_sealed_and_go_on(
    store: MemoryStore, clock: ManualClock, algorithm: str
) -> None:
    before = await node(store, clock, algorithm)
    old = await before.sign(CLAIMS, "x")
    await before.rotate()
    new = await before.sign(CLAIMS, "x")
    ends = [entry.expires_at for entry in await store.entries(Kind.SIGNING_KEY)]
    keys = await sealing(store, clock, algorithm)
    assert all(map(is_sealed, await secrets_in(store)))
    assert [entry.expires_at for entry in await store.entries(Kind.SIGNING_KEY)] == ends
    for token in (old, new):
        assert await keys.verify(token, "x") == CLAIMS


@pytest.mark.parametrize("secret_key", ["", ANOTHER_KEY, "no key"], ids=["none", "another", "bad"])
async def test_a_hub_that_cannot_open_the_key_does_not_start_and_makes_no_open_one(
    store: MemoryStore, clock: ManualClock, secret_key: str
) -> None:
    await sealing(store, clock)
    with pytest.raises(BackendUnavailable) as refused:
        await sealing(store, clock, secret_key=secret_key)
    assert KEY not in refused.value.detail
    with pytest.raises(BackendUnavailable):
        await sealing(store, clock, "EdDSA", secret_key="")
    with pytest.raises(BackendUnavailable):
        await SigningKeys(store, clock).rotate()
    assert all(map(is_sealed, await secrets_in(store)))


async def test_after_its_secret_key_was_lost_a_rotation_begins_anew(
    store: MemoryStore, clock: ManualClock
) -> None:
    lost = await (await sealing(store, clock)).sign(CLAIMS, "x")
    clock.pass_by(1)
    await SigningKeys(store, clock, secret_key=ANOTHER_KEY).rotate()
    keys = await sealing(store, clock, secret_key=ANOTHER_KEY)
    assert await keys.verify(await keys.sign(CLAIMS, "x"), "x") == CLAIMS
    with pytest.raises(Unauthenticated):
        await keys.verify(lost, "x")
    assert len((await keys.public())["keys"]) == 1

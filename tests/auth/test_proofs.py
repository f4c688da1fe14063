"""Whichever credential: who it proves, how soon it can be revoked, how often one may fail."""

from __future__ import annotations

import pytest

from agent_hub.auth.attempts import FAILURES_AT_ONCE, Attempts
from agent_hub.auth.networks import MAX_NETWORKS
from agent_hub.auth.proofs import MAX_CREDENTIAL_CHARACTERS, REMEMBERED_SECONDS, Proofs
from agent_hub.auth.revocations import Revocations
from agent_hub.auth.store import CredentialStore
from agent_hub.auth.tokens import Tokens
from agent_hub.core.errors import RateLimited, Unauthenticated
from agent_hub.core.network import network_of
from agent_hub.core.principal import Principal
from tests.clock import ManualClock

PEER = "192.0.2.1"
BAD = "ah_" + "a" * 16 + "_" + "a" * 52


@pytest.fixture
def proofs(tokens: Tokens, store: CredentialStore, clock: ManualClock) -> Proofs:
    return Proofs(store, clock, tokens=tokens)


async def authenticate(proofs: Proofs, credential: str, peer: str = PEER) -> Principal:
    return await proofs.authenticate(credential, via="rest", peer=peer)


async def test_a_token_is_good_at_every_door(proofs: Proofs, tokens: Tokens) -> None:
    text, _ = await tokens.create(["beta"])
    for via in ("rest", "websocket", "mcp"):
        caller = await proofs.authenticate(text, via=via, peer=PEER)
        assert (caller.via, caller.subject) == (via, "token:beta")


async def test_a_revoked_token_is_refused_within_a_second(
    proofs: Proofs, tokens: Tokens, clock: ManualClock
) -> None:
    text, token = await tokens.create(["beta"])
    await authenticate(proofs, text)
    await tokens.revoke(token.id)
    clock.pass_by(REMEMBERED_SECONDS)
    with pytest.raises(Unauthenticated):
        await authenticate(proofs, text)
    assert REMEMBERED_SECONDS <= 1


async def test_a_revoked_token_is_refused_at_once_by_a_hub_told_to_read_again(
    proofs: Proofs, tokens: Tokens
) -> None:
    text, token = await tokens.create(["beta"])
    await authenticate(proofs, text)
    await tokens.revoke(token.id)
    proofs.read_again()
    with pytest.raises(Unauthenticated):
        await authenticate(proofs, text)


async def test_a_token_ends_at_its_end_though_it_is_remembered(
    proofs: Proofs, tokens: Tokens, clock: ManualClock
) -> None:
    text, _ = await tokens.create(["beta"], lifetime=0.5)
    await authenticate(proofs, text)
    clock.pass_by(0.5)
    with pytest.raises(Unauthenticated):
        await authenticate(proofs, text)


async def test_a_kind_of_credential_that_is_not_switched_on_is_refused(
    store: CredentialStore, tokens: Tokens, clock: ManualClock
) -> None:
    text, _ = await tokens.create(["beta"])
    for credential in (text, "e30.e30.e30"):
        with pytest.raises(Unauthenticated, match="kind"):
            await authenticate(Proofs(store, clock), credential)


@pytest.mark.parametrize("credential", ["x" * (MAX_CREDENTIAL_CHARACTERS + 1), "é", "\udcff", ""])
async def test_what_can_be_no_credential_is_refused(proofs: Proofs, credential: str) -> None:
    with pytest.raises(Unauthenticated):
        await authenticate(proofs, credential)


async def test_it_is_known_which_of_the_open_ones_were_lost(
    proofs: Proofs, tokens: Tokens, store: CredentialStore
) -> None:
    callers = []
    for agent in ("alpha", "beta"):
        text, _ = await tokens.create([agent])
        callers.append(await authenticate(proofs, text))
    callers += [Principal("rest", credential="jwt:one"), Principal("rest", credential="jwt:two")]
    callers.append(Principal("rest", credential="jwt of somebody"))
    assert await proofs.lost(callers) == set()
    await tokens.revoke(callers[0].credential.removeprefix("token:"))
    await Revocations(store).revoke("two")
    assert await proofs.lost(callers) == {callers[0].credential, "jwt:two"}


# --- failures -------------------------------------------------------------------------------


async def fail(proofs: Proofs, times: int, peer: str = PEER) -> None:
    for _ in range(times):
        with pytest.raises(Unauthenticated):
            await authenticate(proofs, BAD, peer)


async def test_who_fails_too_often_has_to_wait(proofs: Proofs, clock: ManualClock) -> None:
    await fail(proofs, FAILURES_AT_ONCE)
    with pytest.raises(RateLimited) as refusal:
        await authenticate(proofs, BAD)
    assert PEER not in refusal.value.detail
    assert refusal.value.retry_after is not None
    clock.pass_by(refusal.value.retry_after)
    await fail(proofs, 1)


async def test_while_an_address_has_to_wait_its_guesses_are_not_even_looked_at(
    proofs: Proofs, tokens: Tokens
) -> None:
    text, _ = await tokens.create(["beta"])
    await fail(proofs, FAILURES_AT_ONCE)
    with pytest.raises(RateLimited):
        await authenticate(proofs, text)
    await authenticate(proofs, text, "198.51.100.7")


async def test_a_neighbour_with_a_good_credential_is_not_held_up(
    proofs: Proofs, tokens: Tokens, clock: ManualClock
) -> None:
    text, _ = await tokens.create(["beta"])
    await authenticate(proofs, text)
    await fail(proofs, FAILURES_AT_ONCE)
    clock.pass_by(REMEMBERED_SECONDS)
    await authenticate(proofs, text)


async def test_a_host_with_many_ipv6_addresses_has_one_bucket(proofs: Proofs) -> None:
    for number in range(FAILURES_AT_ONCE):
        await fail(proofs, 1, f"2001:db8::{number:x}")
    with pytest.raises(RateLimited):
        await authenticate(proofs, BAD, "2001:db8::ffff")
    await fail(proofs, 1, "2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("peer", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_network_is_what_one_host_has(peer: str, network: str) -> None:
    assert network_of(peer) == network


def test_addresses_without_end_share_one_bucket(clock: ManualClock) -> None:
    attempts = Attempts(clock)
    for number in range(MAX_NETWORKS):
        attempts.fail(f"2001:db8:0:{number:x}::1")
    for _ in range(FAILURES_AT_ONCE):
        attempts.fail("198.51.100.1")
    with pytest.raises(RateLimited):
        attempts.check("198.51.100.2")

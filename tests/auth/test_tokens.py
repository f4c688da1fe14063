"""The hub's own tokens."""

from __future__ import annotations

import re

import pytest

from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.auth.tokens import REMEMBERED_SECONDS, Tokens
from agent_hub.core.errors import Invalid, Unauthenticated
from agent_hub.core.principal import ORDINARY
from tests.clock import ManualClock


async def test_a_token_proves_whose_it_is(tokens: Tokens, clock: ManualClock) -> None:
    text, token = await tokens.create(["beta", "beta-*"], lifetime=60)
    caller = await tokens.prove(text, via="rest", peer="192.0.2.1")
    assert (caller.via, caller.peer) == ("rest", "192.0.2.1")
    assert caller.agents == frozenset({"beta", "beta-*"})
    assert caller.scopes == ORDINARY
    assert caller.subject == "token:beta"
    assert caller.credential == f"token:{token.id}"
    assert caller.expires_at == clock.time() + 60


async def test_a_token_has_the_scopes_that_it_was_given(tokens: Tokens) -> None:
    text, _ = await tokens.create([], name="prometheus", scopes=["admin"])
    caller = await tokens.prove(text, via="rest", peer="")
    assert caller.scopes == {"admin"}
    assert caller.agents == frozenset()
    assert caller.subject == "token:prometheus"


async def test_a_token_is_one_word_that_a_scanner_of_secrets_can_know(tokens: Tokens) -> None:
    text, _ = await tokens.create(["beta"])
    assert re.fullmatch(r"ah_[a-z2-7]{16}_[a-z2-7]{52}", text)


async def test_nothing_of_the_secret_is_kept(tokens: Tokens, store: CredentialStore) -> None:
    text, _ = await tokens.create(["beta"])
    secret = text.rpartition("_")[2]
    for entry in await store.entries(Kind.TOKEN):
        assert secret.encode() not in entry.value
        assert secret not in entry.key


async def test_a_wrong_secret_proves_nothing(tokens: Tokens) -> None:
    text, _ = await tokens.create(["beta"])
    other, _ = await tokens.create(["alpha"])
    forged = text[: -len("a" * 52)] + other.rpartition("_")[2]
    with pytest.raises(Unauthenticated):
        await tokens.prove(forged, via="rest", peer="")


@pytest.mark.parametrize(
    "credential",
    ["", "ah_", "ah__", "ah_x_y", "beta", "ah_" + "a" * 16 + "_" + "a" * 52, "AH_" + "A" * 60],
)
async def test_what_is_no_token_proves_nothing(tokens: Tokens, credential: str) -> None:
    await tokens.create(["beta"])
    with pytest.raises(Unauthenticated):
        await tokens.prove(credential, via="rest", peer="")


async def test_a_token_with_something_behind_it_proves_nothing(tokens: Tokens) -> None:
    text, _ = await tokens.create(["beta"])
    for forged in (text + "a", text + "\n", " " + text, text.upper()):
        with pytest.raises(Unauthenticated):
            await tokens.prove(forged, via="rest", peer="")


async def test_a_token_ends_at_its_end_and_says_so_for_a_while(
    tokens: Tokens, clock: ManualClock
) -> None:
    text, token = await tokens.create(["beta"], lifetime=60)
    clock.pass_by(60)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.prove(text, via="rest", peer="")
    assert await tokens.known() == [token]
    clock.pass_by(REMEMBERED_SECONDS)
    with pytest.raises(Unauthenticated, match="unknown"):
        await tokens.prove(text, via="rest", peer="")
    assert await tokens.known() == []


async def test_a_revoked_token_proves_nothing(tokens: Tokens) -> None:
    for named_by in ("id", "prefix", "whole"):
        text, token = await tokens.create(["beta"])
        name = {"id": token.id, "prefix": f"ah_{token.id}", "whole": text}[named_by]
        assert await tokens.revoke(name)
        assert not await tokens.revoke(name)
        with pytest.raises(Unauthenticated, match="revoked"):
            await tokens.prove(text, via="rest", peer="")


async def test_tokens_are_listed_oldest_first(tokens: Tokens, clock: ManualClock) -> None:
    made = []
    for agent in ("gamma", "alpha", "beta"):
        made.append((await tokens.create([agent]))[1])
        clock.pass_by(1)
    assert await tokens.known() == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"agents": []},
        {"agents": ["no agent"]},
        {"agents": [f"a{number}" for number in range(65)]},
        {"agents": ["beta"], "scopes": ["everything"]},
        {"agents": ["beta"], "name": ""},
        {"agents": ["beta"], "name": "a\nb"},
        {"agents": ["beta"], "name": "x" * 129},
    ],
)
async def test_a_token_for_nothing_that_there_can_be_is_not_made(
    tokens: Tokens, wrong: dict[str, object]
) -> None:
    with pytest.raises(Invalid):
        await tokens.create(**wrong)  # type: ignore[arg-type]
    assert await tokens.known() == []

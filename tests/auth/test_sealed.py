"""Secrets in a settings file, and the key elsewhere."""

from __future__ import annotations

import pytest

from agent_hub.auth.sealed import PREFIX, NotOpened, is_sealed, new_key, seal, unseal

SECRET = "pä$$word with spaces"


@pytest.mark.parametrize("secret", [SECRET, "", "x" * 10_000])
def test_what_was_sealed_can_be_opened_with_the_key(secret: str) -> None:
    key = new_key()
    sealed = seal(secret, key)
    assert is_sealed(sealed)
    assert unseal(sealed, key) == secret
    assert unseal(sealed, f" {key}\n") == secret  # as a file holds it


def test_the_same_secret_looks_different_each_time() -> None:
    key = new_key()
    assert seal(SECRET, key) != seal(SECRET, key)
    assert SECRET not in seal(SECRET, key)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(NotOpened, match="another key"):
        unseal(seal(SECRET, new_key()), new_key())


def test_what_was_changed_does_not_open() -> None:
    key = new_key()
    sealed = seal(SECRET, key)
    for place in range(len(PREFIX), len(sealed), 7):
        letter = "A" if sealed[place] != "A" else "B"
        with pytest.raises(NotOpened):
            unseal(sealed[:place] + letter + sealed[place + 1 :], key)


@pytest.mark.parametrize("text", [PREFIX, PREFIX + "AAAA", PREFIX + "!", PREFIX + "é", "plain"])
def test_what_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(NotOpened):
        unseal(text, new_key())


@pytest.mark.parametrize("key", ["", "short", "é" * 44, "A" * 42, "!" * 44])
def test_what_is_no_key_is_told_so(key: str) -> None:
    for text in (SECRET, seal(SECRET, new_key())):
        with pytest.raises(NotOpened) as refusal:
            unseal(text, key) if is_sealed(text) else seal(text, key)
        assert SECRET not in str(refusal.value)
        assert not key or key not in str(refusal.value)


def test_a_plain_secret_is_not_taken_for_a_sealed_one() -> None:
    assert not is_sealed(SECRET)

"""Stores, and what proves something with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_hub.auth.store import CredentialStore
from agent_hub.auth.tokens import Tokens
from tests.auth.stores import SHARED, STORES
from tests.clock import ManualClock

SELDOM = {"redis-cluster"}
"""The same store again, on a Redis that differs only in what it refuses."""


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name in SELDOM else name
        for name in sorted(STORES)
    ]
)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[CredentialStore]:
    store = STORES[str(request.param)](tmp_path, clock.time)
    await store.open()
    yield store
    await store.close()


@pytest.fixture(params=SHARED)
async def two_stores(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[tuple[CredentialStore, CredentialStore]]:
    """As two processes have them."""
    make = STORES[str(request.param)]
    one, other = make(tmp_path, clock.time), make(tmp_path, clock.time)
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()


@pytest.fixture
def tokens(store: CredentialStore, clock: ManualClock) -> Tokens:
    return Tokens(store, clock.time)

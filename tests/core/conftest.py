"""Hubs of a test's own making."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from agent_hub.core.clock import Clock
from agent_hub.core.hub import Hub
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.rate_limit import Buckets, TokenBuckets
from tests.backends.factories import FACTORIES, Factory
from tests.clock import ManualClock
from tests.conftest import each_factory
from tests.core.calls import Counted, Deaf

OpenHub = Callable[..., Awaitable[Hub]]


@pytest.fixture(params=each_factory(seldom=pytest.mark.soak))
def factory(request: pytest.FixtureRequest) -> Factory:
    """The makers of all backends. What hubs do on a cluster hangs on what the backend does."""
    return FACTORIES[str(request.param)]


@pytest.fixture
def metrics() -> Counted:
    return Counted()


@pytest.fixture
async def open_hub(
    backend: QueueBackend, clock: ManualClock, metrics: Counted
) -> AsyncIterator[OpenHub]:
    """Start a hub that counts; with a rate limit when `rate` is given."""
    hubs: list[Hub] = []

    async def open_with(
        *,
        rate: float = 0,
        burst: int = 20,
        buckets: Callable[[float, int, Clock], Buckets] = TokenBuckets,
        **options: Any,
    ) -> Hub:
        counts = buckets(rate, burst, clock)
        hub = Hub(backend, clock, metrics=metrics, buckets=counts, **options)
        await hub.start()
        hubs.append(hub)
        return hub

    yield open_with
    for hub in hubs:
        await hub.stop()


@pytest.fixture
async def deaf_hub(
    backend: QueueBackend, open_hub: OpenHub, monkeypatch: pytest.MonkeyPatch
) -> Hub:
    """A hub that no hint of its store reaches: it looks every 5 s."""
    monkeypatch.setattr(backend, "poll_seconds", 5.0, raising=False)
    monkeypatch.setattr(backend, "watch", lambda *_, **__: Deaf())
    return await open_hub()

"""What most tests start from: a clock that stands still, a backend, a hub, one that is served."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agent_hub.core.hub import Hub
from agent_hub.core.limits import Limits
from agent_hub.core.queue_backend import QueueBackend
from agent_hub.core.trail import TRAIL
from tests.backends.factories import FACTORIES, Factory
from tests.canary import PASSWORD, Watcher
from tests.clock import ManualClock
from tests.redis_server import RedisServer
from tests.redis_server import redis_server as running_redis
from tests.server import RunningHub, running_hub
from tests.surroundings import heeded_by_programs, surroundings
from tests.web.caller import Caller

OpenBackend = Callable[[Limits], Awaitable[QueueBackend]]


@pytest.fixture(scope="session")
def watcher() -> Watcher:
    """Reads all that this run logs, at the lowest level."""
    watcher = Watcher()
    logging.getLogger().addHandler(watcher)
    return watcher


@pytest.fixture(autouse=True)
def no_secret_is_logged(watcher: Watcher) -> Iterator[None]:
    """No test may make the hub write down a body or a credential."""
    logging.getLogger("agent_hub").setLevel(logging.DEBUG)
    TRAIL.is_kept = True
    yield
    leaks, watcher.leaks = watcher.leaks, []
    assert not leaks


@pytest.fixture(autouse=True)
def no_file_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that a test does not tell where to keep its messages keeps them in memory."""
    monkeypatch.setenv("AGENT_HUB_BACKEND", "memory")


@pytest.fixture(autouse=True, scope="session")
def programs_heed_signals() -> Iterator[None]:
    """What nohup or a shell's `&` lets this run ignore is ignored by no program that it starts."""
    with heeded_by_programs():
        yield


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and an environment that says nothing about the hub."""
    for name in os.environ.keys() - surroundings().keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def on_disk(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite file for a hub and for the commands beside it, and nothing else said."""
    monkeypatch.setenv("AGENT_HUB_BACKEND", f"sqlite:///{elsewhere / 'hub.db'}")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for all tests of this process; it keeps nothing. What is in it is left over.

    Its password is one that nobody may write down.
    """
    with running_redis(password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisServer]:
    """A cluster of one node, likewise: a key outside its hash slot shows."""
    with running_redis(cluster=True) as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


SELDOM = {"redis-cluster"}
"""The same backend again, on a store that differs only in what it refuses."""


def each_factory(seldom: pytest.MarkDecorator = pytest.mark.slow) -> list[object]:
    """The names of all backends, for a test of each; some are run seldom."""
    return [
        pytest.param(name, marks=seldom) if name in SELDOM else name for name in sorted(FACTORIES)
    ]


@pytest.fixture(params=each_factory())
def factory(request: pytest.FixtureRequest) -> Factory:
    """The makers of all backends, one after the other."""
    return FACTORIES[str(request.param)]


@pytest.fixture
async def open_backend(factory: Factory, clock: ManualClock) -> AsyncIterator[OpenBackend]:
    """Open a backend with limits of the test's own."""
    opened: list[QueueBackend] = []

    async def open_with(limits: Limits) -> QueueBackend:
        backend = factory(clock, limits)
        await backend.open()
        opened.append(backend)
        return backend

    yield open_with
    for backend in opened:
        await backend.close()


@pytest.fixture
async def backend(
    request: pytest.FixtureRequest, factory: Factory, clock: ManualClock
) -> AsyncIterator[QueueBackend]:
    """An open backend; in a test with a hub the one that the hub opened and will close."""
    backend = factory(clock, Limits())
    if {"hub", "open_hub"} & set(request.fixturenames):
        yield backend
    else:
        await backend.open()
        yield backend
        await backend.close()


@pytest.fixture
async def hub(backend: QueueBackend, clock: ManualClock) -> AsyncIterator[Hub]:
    """A running hub without a rate limit."""
    hub = Hub(backend, clock)
    await hub.start()
    yield hub
    await hub.stop()


@pytest.fixture
async def served(clock: ManualClock) -> AsyncIterator[RunningHub]:
    """A hub on a real socket, without a rate limit."""
    async with running_hub(clock=clock) as served:
        yield served


@pytest.fixture
def rest(served: RunningHub) -> Caller:
    """A client of the REST door of that hub."""
    return Caller(served.session)

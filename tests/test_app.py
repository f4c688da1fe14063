"""What a start of the hub asks of the system."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from agent_hub import app
from agent_hub.app import MAX_FILES, allow_many_sockets
from agent_hub.config import Settings


@pytest.fixture
def few_files() -> Iterator[int]:
    """A limit as many systems set it, and how far it may be raised."""
    before = _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_024, most), hard))
    yield most
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_hub_takes_as_many_sockets_as_the_system_lets_it(
    few_files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []

    async def serve(settings: Settings, worker: object, on_reload: object) -> int:
        limits.append(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        return 0

    monkeypatch.setattr(app, "_serve", serve)
    assert app.run(Settings()) == 0
    assert limits == [min(few_files, MAX_FILES)]


def test_a_limit_that_is_high_already_stays(few_files: int) -> None:
    allow_many_sockets()
    raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_many_sockets()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == raised

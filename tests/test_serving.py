"""What a start of the hub asks of the system."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator

import pytest

from agent_hub import serving
from agent_hub.config import Settings
from agent_hub.serving import MAX_FILES, NEW_OBJECTS, allow_many_sockets, collect_seldom


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

    monkeypatch.setattr(serving, "_serve", serve)
    assert serving.run(Settings()) == 0
    assert limits == [min(few_files, MAX_FILES)]


def test_a_limit_that_is_high_already_stays(few_files: int) -> None:
    allow_many_sockets()
    raised = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_many_sockets()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == raised


@pytest.fixture
def collector() -> Iterator[list[int]]:
    """The generations that were collected; as Python has it again at the end."""
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            collected.append(info["generation"])

    before = gc.get_threshold()
    gc.callbacks.append(note)
    yield collected
    gc.callbacks.remove(note)
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_waits_together_does_not_wake_the_collector(collector: list[int]) -> None:
    collect_seldom()
    collected_before = len(collector)
    waiting = [[number] for number in range(NEW_OBJECTS // 2)]
    assert len(collector) == collected_before
    waiting += [[number] for number in range(NEW_OBJECTS)]
    assert collector[collected_before:] == [0]


def test_what_was_loaded_at_the_start_is_not_walked_through_again(collector: list[int]) -> None:
    loaded = [object, [1]]
    collect_seldom()
    assert gc.get_freeze_count() > 0
    assert not any(seen is loaded for seen in gc.get_objects())

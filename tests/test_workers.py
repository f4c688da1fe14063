"""Several hubs on one port: as long as the supervisor lives, so do they."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parent.parent


class Supervised:
    """The program, and what it logs."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.events: list[str] = []

    async def logs(self, *wanted: str, times: int = 1) -> str:
        """The next line that has all of these words; None of those before it is looked at again."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := await self.process.stderr.readline():
                event = str(json.loads(line)["event"])
                self.events.append(event)
                times -= all(word in event for word in wanted)
                if not times:
                    return event
        raise AssertionError(f"{wanted} not in {self.events}")

    async def ready(self) -> None:
        await self.logs("all 2 workers are ready")

    @property
    def workers(self) -> list[int]:
        """Process ids, oldest first."""
        return [int(event.rpartition(" ")[2]) for event in self.events if "as process" in event]

    async def ended(self) -> int:
        """The exit code, once nothing of it is left."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
        await self._gone()
        return code

    async def _gone(self) -> None:
        workers = [psutil.Process(pid) for pid in self.workers if psutil.pid_exists(pid)]
        await asyncio.to_thread(psutil.wait_procs, workers, PATIENCE)
        assert not [pid for pid in self.workers if psutil.pid_exists(pid)]


@asynccontextmanager
async def supervised(port: int = 0, fault: str = "") -> AsyncIterator[Supervised]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.supervised", str(port), fault),
        cwd=ROOT,
        stderr=PIPE,
    )
    one = Supervised(process)
    try:
        yield one
    finally:
        for pid in one.workers:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        if process.returncode is None:
            process.kill()
        await process.communicate()


def listeners(workers: list[int]) -> dict[int, int]:
    """The port on which each of these processes listens."""
    return {
        pid: place.laddr.port
        for pid in workers
        for place in psutil.Process(pid).net_connections("tcp")
        if place.status == psutil.CONN_LISTEN and place.laddr
    }


@pytest.fixture
async def two() -> AsyncIterator[Supervised]:
    async with supervised() as one:
        await one.ready()
        yield one


async def test_all_workers_listen_on_the_one_port_that_was_chosen_for_them(two: Supervised) -> None:
    ports = listeners(two.workers)
    assert len(ports) == 2
    assert len(set(ports.values())) == 1
    assert set(ports.values()) != {0}


async def test_a_worker_that_was_killed_starts_again_on_the_same_port(two: Supervised) -> None:
    victim, other = two.workers
    port = listeners([victim])[victim]
    os.kill(victim, signal.SIGKILL)
    await two.logs(f"worker 1, process {victim}, ended with SIGKILL; starts again in 0.25 s")
    await two.ready()
    assert listeners([other, two.workers[2]]) == {other: port, two.workers[2]: port}


async def test_a_worker_that_dies_again_waits_longer_each_time(two: Supervised) -> None:
    for delay in ("0.25", "0.5", "1"):
        os.kill(two.workers[-1], signal.SIGKILL)
        await two.logs(f"worker 2, process {two.workers[-1]}, ended", f"again in {delay} s")
        await two.ready()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_drains_all_workers_and_ends_with_0(
    number: signal.Signals, two: Supervised
) -> None:
    two.process.send_signal(number)
    await two.logs("has drained", times=2)
    assert await two.ended() == 0


async def test_a_worker_that_waits_to_start_again_does_not_keep_it_from_ending(
    two: Supervised,
) -> None:
    os.kill(two.workers[0], signal.SIGKILL)
    await two.logs("starts again")
    two.process.send_signal(signal.SIGTERM)
    await two.logs("worker 2 has drained")
    assert await two.ended() == 0


async def test_told_twice_it_kills_them_at_once(two: Supervised) -> None:
    for pid in two.workers:
        os.kill(pid, signal.SIGSTOP)  # these will not drain
    two.process.send_signal(signal.SIGTERM)
    two.process.send_signal(signal.SIGINT)
    await two.logs("told to stop twice")
    # Whichever of the two came second: they were on their way together.
    assert await two.ended() in (128 + signal.SIGTERM, 128 + signal.SIGINT)


async def test_workers_do_not_outlive_a_supervisor_that_was_killed(two: Supervised) -> None:
    two.process.kill()
    await two.logs("has drained", times=2)
    assert await two.ended() == -signal.SIGKILL


async def test_ctrl_c_reaches_the_workers_only_through_the_supervisor(two: Supervised) -> None:
    groups = {os.getpgid(pid) for pid in (two.process.pid, *two.workers)}
    assert len(groups) == 3


async def test_a_hangup_reaches_every_worker_and_ends_none(two: Supervised) -> None:
    two.process.send_signal(signal.SIGHUP)
    await two.logs("was hung up on", times=2)
    two.process.send_signal(signal.SIGTERM)
    assert await two.ended() == 0
    assert len(two.workers) == 2


async def test_when_a_worker_cannot_start_none_runs_and_one_line_says_why() -> None:
    async with supervised(fault="start") as one:
        await one.logs("cannot start: worker 2 ended with exit code 7")
        assert await one.ended() == 1


async def test_a_worker_that_cannot_start_beside_one_that_serves_is_started_again() -> None:
    # As when its store went away in just that moment.
    async with supervised(fault="late") as one:
        await one.logs("worker 2, process", "ended with exit code 7; starts again in 0.25 s")
        await one.ready()
        one.process.send_signal(signal.SIGTERM)
        assert await one.ended() == 0


async def test_a_port_that_another_hub_has_is_refused_even_if_it_would_share_it(
    two: Supervised,
) -> None:
    port = listeners(two.workers)[two.workers[0]]
    async with supervised(port) as second:
        await second.logs(f"cannot listen on 127.0.0.1:{port}: Address already in use")
        assert await second.ended() == 1
        assert second.workers == []

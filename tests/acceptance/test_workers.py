"""`--workers 2`: one address, two processes, one hub."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.acceptance.load.running import loading
from tests.acceptance.node import Node, nodes
from tests.redis_server import redis_server


def connections(hub: Node) -> dict[int, int]:
    """How many clients are at each process that takes connections on the hub's port."""
    counts: dict[int, int] = {}
    for process in psutil.Process(hub.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # the one that was killed goes while one looks
            places = [
                place.status
                for place in process.net_connections("tcp")
                if place.laddr[1:] == (hub.port,)
            ]
            if psutil.CONN_LISTEN in places:
                counts[process.pid] = places.count(psutil.CONN_ESTABLISHED)
    return counts


@pytest.mark.slow
async def test_of_two_workers_one_is_killed_and_comes_back_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    with redis_server(append_only="always") as redis:
        async with (
            nodes(tmp_path, 1, "--backend", redis.url, "--workers", "2") as [hub],
            loading(tmp_path, hub.url) as load,
        ):
            await load.until(lambda: len(connections(hub)) == 2)  # one is ready before the other
            await load.start("rest", 8)
            await load.start("send", 16, "--readers", "8", "--pause", "0.02")
            await load.until(partial(load.has_accepted, 500))
            at_each = connections(hub)
            assert all(at_each.values()), "one worker has all the connections"
            victim = next(iter(at_each))
            os.kill(victim, signal.SIGKILL)
            await load.until(lambda: connections(hub).keys() - at_each.keys() != set())
            await load.until(partial(load.has_accepted, load.accepted + 500))
            assert len(connections(hub)) == 2
            await load.stop("send")
            await load.stop("rest")
            findings = load.findings()
            workers = connections(hub)
            assert await hub.stop() == 0
            assert not any(psutil.pid_exists(pid) for pid in workers)
    findings.check()
    findings.check_acked()
    assert f"process {victim}, ended with SIGKILL" in hub.log

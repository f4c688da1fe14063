"""Several processes behind one port: whichever is scraped tells of all."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from agent_hub.prometheus.series import Counter, Gauge, Histogram, Series
from agent_hub.prometheus.shared import Share
from tests.patience import PATIENCE
from tests.prometheus.scraping import Samples, scrape, total
from tests.web.caller import Caller

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


class Worker:
    """A process of its own, and a session with it."""

    def __init__(self, process: Process, session: ClientSession) -> None:
        self.process = process
        self.session = session


@asynccontextmanager
async def worker(folder: Path, place: int) -> AsyncIterator[Worker]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.prometheus.worker", str(folder), str(place)),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "AGENT_HUB_BACKEND": "memory"},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            port = int(await process.stdout.readline())
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            yield Worker(process, session)
    finally:
        await process.communicate(b"")  # None would leave its input open


async def sends(one: Worker, count: int) -> None:
    for _ in range(count):
        await Caller(one.session).send("beta", "alpha")


def sent(told: Samples) -> float:
    """Answers to sends, over all processes."""
    return sum(
        value
        for (name, *labels), value in told.items()
        if name == "agenthub_http_request_duration_seconds_count" and ("status", "202") in labels
    )


async def test_a_scrape_of_either_process_tells_of_both_and_of_one_that_died(
    tmp_path: Path,
) -> None:
    async with worker(tmp_path, 0) as second:
        async with worker(tmp_path, 1) as first:
            await sends(first, 3)
            await sends(second, 2)
            async with first.session.ws_connect("/ws/alpha") as socket:
                await socket.receive()
                told = await scrape(first)
                assert total(told, "websocket_connections") == 1
                assert [sent(told), sent(await scrape(second))] == [3, 5]
                assert sent(await scrape(first)) == 5
                assert total(await scrape(second), "websocket_connections") == 1
                first.process.kill()
                await first.process.wait()
                told = await scrape(second)
                assert sent(told) == 5
                assert total(told, "websocket_connections") == 0
        async with worker(tmp_path, 1) as third:
            await sends(third, 1)
            told = await scrape(third)
            assert sent(told) == 6
            assert {
                labels[0] for (name, *labels), _ in told.items() if name == "process_open_fds"
            } == {("worker", "0"), ("worker", "1")}
            assert sent(await scrape(second)) == 6


def some_series() -> tuple[Counter, Gauge, Gauge, Histogram]:
    return (
        Counter("count", "", "label"),
        Gauge("sum", ""),
        Gauge("most", "", largest=True),
        Histogram("spread", "", bounds=(1, 2)),
    )


def count(series: tuple[Counter, Gauge, Gauge, Histogram], label: str, value: float) -> None:
    counter, gauge, most, spread = series
    counter.inc(label)
    gauge.set(value)
    most.set(value)
    spread.observe(value)


def test_rows_of_two_processes_add_up_and_of_some_gauges_the_largest_counts(
    tmp_path: Path,
) -> None:
    one, other = some_series(), some_series()
    count(one, "a", 1)
    count(other, "b", 2)
    count(other, "a", 3)
    Share(tmp_path, 0).write(one, [])
    Share(tmp_path, 1).write(other, [])
    rows, _ = Share(tmp_path, 0).merged(one)
    assert rows == {
        "count": {("a",): [2], ("b",): [1]},
        "sum": {(): [4]},
        "most": {(): [3]},
        "spread": {(): [1, 1, 1, 6]},
    }


def test_who_takes_a_place_goes_on_from_its_counts_but_not_from_its_gauges(
    tmp_path: Path,
) -> None:
    before, after = some_series(), some_series()
    count(before, "a", 2)
    Share(tmp_path, 0).write(before, [])
    Share(tmp_path, 0).inherit(after)
    counter, gauge, most, spread = after
    assert counter.rows == {("a",): [1]}
    assert gauge.rows == most.rows == {(): [0]}
    assert spread.rows == {(): [0, 1, 0, 2]}


def test_a_process_alone_with_its_place_finds_nothing(tmp_path: Path) -> None:
    series: list[Series] = [*some_series()]
    Share(tmp_path, 0).inherit(series)
    assert Share(tmp_path, 0).merged(series)[0] == {one.name: {} for one in series}

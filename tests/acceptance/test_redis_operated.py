"""Several processes on a Redis with a password, as an operator sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from agent_hub import cli
from tests.acceptance.process import HubProcess, hub_process
from tests.acceptance.test_signals import start
from tests.canary import PASSWORD, found_in
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.prometheus.scraping import Samples, balance, scrape
from tests.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.slow

MESSAGES = 40


@pytest.fixture
def guarded_redis() -> Iterator[RedisServer]:
    with redis_server(password=PASSWORD) as server:
        yield server


@pytest.fixture
def secret(guarded_redis: RedisServer, tmp_path: Path) -> Path:
    """Where the address with the password stands."""
    path = tmp_path / "backend"
    path.write_text(guarded_redis.url)
    assert found_in(path.read_text())
    return path


class Stranger:
    """A client that makes a new connection for each call: any of the processes may get it."""

    def __init__(self, session: ClientSession) -> None:
        self.session = session


def sends(told: Samples) -> float:
    """Answers to sends, over all processes."""
    return sum(
        value
        for (name, *labels), value in told.items()
        if name == "agenthub_http_request_duration_seconds_count"
        and {("route", "/api/v1/messages"), ("status", "202")} <= set(labels)
    )


async def send_some(stranger: Stranger) -> None:
    for number in range(MESSAGES):
        body = {"from": "beta", "to": f"reader-{number % 4}", "text": str(number)}
        async with stranger.session.post("/api/v1/messages", json=body) as response:
            assert response.status == 202, await response.text()


async def told_of_all(stranger: Stranger) -> Samples:
    """A scrape once each process has told the others of the last second."""
    async with asyncio.timeout(PATIENCE):
        told = await scrape(stranger)
        while sends(told) < MESSAGES:
            told = await scrape(stranger)
    return told


def secret_in_a_file(path: Path) -> dict[str, str]:
    return {"AGENT_HUB_BACKEND": "", "AGENT_HUB_BACKEND_FILE": str(path)}


async def test_whichever_worker_is_scraped_tells_of_all_and_of_the_store_once(
    secret: Path,
) -> None:
    flags = ("--workers", "2", "--rate-limit", "0", "--log-level", "debug")
    async with hub_process(*flags, variables=secret_in_a_file(secret)) as hub:
        await hub.log.event("all 2 workers are ready")
        async with ClientSession(hub.url, connector=TCPConnector(force_close=True)) as session:
            stranger = Stranger(session)
            await send_some(stranger)
            for _ in range(6):
                told = await told_of_all(stranger)
                assert sends(told) == MESSAGES
                assert balance(told) == 0
                direct = ("agenthub_messages_accepted_total", ("kind", "direct"), ("via", "rest"))
                assert told[direct] == MESSAGES
                workers = {labels for name, labels, *_ in
                           (n for n in told if n[0] == "process_open_fds")}  # fmt: skip
                assert workers == {("worker", "1"), ("worker", "2")}
        hub.process.terminate()
        assert await asyncio.wait_for(hub.process.wait(), 10) == 0


async def problem(hub: HubProcess) -> str:
    body = {"from": "beta", "to": "alpha", "text": "hello"}
    async with hub.session.post("/api/v1/messages", json=body) as response:
        assert response.status == 503
        return await response.text()


async def test_the_password_stands_nowhere_also_when_redis_goes_away(
    secret: Path,
    guarded_redis: RedisServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with hub_process("--log-level", "debug", variables=secret_in_a_file(secret)) as hub:
        guarded_redis.kill()
        assert found_in(await problem(hub)) is None
        told = await scrape(hub)
        assert told["agenthub_backend_up",] == 0
        async with hub.session.get("/readyz?verbose") as response:
            assert response.status == 503
            assert found_in(await response.text()) is None
        async with hub.session.get("/livez") as response:
            assert response.status == 200
        guarded_redis.restart()
    for name, value in secret_in_a_file(secret).items():
        monkeypatch.setenv(name, value)
    for form in ([], ["--json"]):
        assert cli.main(["config", *form]) == 0
        assert found_in(capsys.readouterr().out) is None


def test_a_redis_that_does_not_answer_stops_the_start_with_one_line() -> None:
    port = free_port()
    code, lines = start("--backend", f"redis://:{PASSWORD}@127.0.0.1:{port}/0", "--port", "0")
    assert code == 1
    [line] = lines
    assert f"cannot start: Redis at 127.0.0.1:{port}" in line
    assert found_in(line) is None


def test_a_password_that_redis_refuses_stops_the_start_with_one_line(
    guarded_redis: RedisServer,
) -> None:
    url = guarded_redis.url.replace(PASSWORD, f"{PASSWORD}-wrong")
    code, lines = start("--backend", url, "--port", "0")
    assert code == 1
    [line] = lines
    assert "cannot start: " in line
    assert found_in(line) is None

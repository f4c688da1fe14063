"""Each alert's condition, brought about on a running hub; Prometheus's hours pass in seconds.

Every duration of the rules is divided by `FASTER`: a window of five minutes is one of five seconds,
over scrapes that come faster too. promtool tests the rules at their real pace.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.backends.sqlite_files import page_limit
from tests.deploy import files
from tests.deploy.prometheus import Prometheus, hurried_rules, prometheus, until
from tests.deploy.test_prometheus import kill_one, post, send
from tests.patience import PATIENCE
from tests.redis_server import RedisServer, redis_server
from tests.server import RunningHub, running_hub
from tests.web.caller import MESSAGES, RECEIVE
from tests.web.peer import look

pytestmark = pytest.mark.slow

FASTER = 60
HOUR = 3600 / FASTER
THRESHOLDS = {"> 240": f"> {240 / FASTER:g}"}
"""Ages are numbers in the rules, and are divided too."""
LONGEST = 3 * PATIENCE
"""A rule that must hold for seconds begins anew with each scrape that a busy machine has late."""
LAG = 0.2
"""Seconds; the rule's own limit."""
LATE = 1.5
"""Seconds for which the event loop, or a write to the disk, is held up."""


class Watched:
    """A hub, its file, and the Prometheus that watches it."""

    def __init__(self, hub: RunningHub, path: Path, watching: Prometheus) -> None:
        self.hub = hub
        self.path = path
        self.watching = watching

    def limit(self, pages: int) -> int:
        """How large the file may become, in pages; the limit before."""
        return page_limit(cast(SqliteBackend, self.hub.hub._backend), pages)

    async def hold(self, seconds: float) -> None:
        """Nobody else may write to the file for so long."""

        def held() -> None:
            with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                threading.Event().wait(seconds)
                connection.execute("ROLLBACK")

        await asyncio.to_thread(held)

    async def fires(
        self, alert: str, meanwhile: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        """Until the alert fires, with labels and words in place; `meanwhile` goes on until then."""

        async def fired() -> bool:
            if meanwhile is not None:
                await meanwhile()
            return alert in await self.watching.firing()

        await until(fired, LONGEST)
        (one, *_) = [
            one for one in await self.watching.alerts() if one["labels"]["alertname"] == alert
        ]
        assert one["labels"]["job"] == "agent-hub"
        for text in one["annotations"].values():
            assert text
            assert not set("{}<>") & set(text), text

    async def is_over(self, alert: str) -> None:
        """Until the alert does not fire any more."""

        async def ended() -> bool:
            return alert not in await self.watching.firing()

        await until(ended)


@pytest.fixture
async def watched(
    server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Watched]:
    path = tmp_path / "hub.db"
    monkeypatch.setenv("AGENT_HUB_BACKEND", f"sqlite:///{path}")
    async with watched_hub(server, path) as watched:
        yield watched


@asynccontextmanager
async def watched_hub(server: Path, path: Path) -> AsyncIterator[Watched]:
    """A hub on the store that the environment names, watched from beside `path`."""
    rules = hurried_rules(files.ALERTS, FASTER, THRESHOLDS)
    async with running_hub() as hub:
        address = hub.url.removeprefix("http://")
        place = path.parent / "prometheus"
        async with prometheus(server, place, address, rules=rules) as watching:
            await watching.scraped()
            await until(watching.is_quiet)  # before its first scrape it missed the hub
            yield Watched(hub, path, watching)


async def conversation(hub: RunningHub) -> None:
    """What agents do all day: one sends, the other reads, one asks for what is not there."""
    await send(hub.session, "reader")
    await post(hub.session, RECEIVE, {"agent_id": "reader", "wait": 1})
    async with hub.session.get("/api/v1/agents/nobody") as answer:
        assert answer.status == 404


async def refused(hub: RunningHub, to: str, sender: str, status: int) -> None:
    """A send that is not accepted."""
    body = {"from": sender, "to": to, "text": "x" * 200_000}
    async with hub.session.post(MESSAGES, json=body) as answer:
        assert answer.status == status, await answer.text()


@asynccontextmanager
async def lateness() -> AsyncIterator[list[float]]:
    """By how many seconds the event loop, which is the hub's too, was late each time."""
    late = [0.0]

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG)
            late.append(time.monotonic() - before - LAG)

    watching = asyncio.create_task(watch())
    yield late
    watching.cancel()


async def test_no_alert_fires_in_an_hour_of_ordinary_load(watched: Watched) -> None:
    fired: set[str] = set()
    ends = time.monotonic() + HOUR
    async with lateness() as late:
        while time.monotonic() < ends:
            await conversation(watched.hub)
            fired |= await watched.watching.firing()
    # Where others kept the machine busy the loop did lag, by the test's own clock, and it is told.
    assert fired <= ({"AgentHubEventLoopLag"} if max(late) > LAG else set())
    asked = await watched.watching.value("sum(agenthub_messages_accepted_total)")
    assert asked is not None
    assert asked > 100


async def test_what_agents_and_bugs_do_is_told(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message given back too often, mail that nobody reads, a full inbox, a bug."""
    session = watched.hub.session
    await kill_one(session, "broken")
    await send(session, "away", ttl=3600)
    await fill(watched.hub, "full", "beta")
    await fail(watched.hub, monkeypatch)

    async def go_on() -> None:
        await send(session, "away", ttl=1)
        await refused(watched.hub, "full", "beta", 429)

    await watched.fires("AgentHubDeadLetters", go_on)
    await watched.fires("AgentHubInternalErrors", go_on)
    await watched.fires("AgentHubRefusesSends", go_on)
    await watched.fires("AgentHubOldMail", go_on)
    await watched.fires("AgentHubMailExpires", go_on)


async def fill(hub: RunningHub, to: str, sender: str) -> None:
    """Send until there is no more room."""
    body = {"from": sender, "to": to, "text": "x" * 200_000, "ttl": 3600}
    status = 202
    while status == 202:
        async with hub.session.post(MESSAGES, json=body) as answer:
            status = answer.status
    assert status == 429


async def fail(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request for which the hub has a bug."""

    async def bug(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(hub.hub, "agents", bug)
        async with hub.session.get("/api/v1/agents") as answer:
            assert answer.status == 500


async def test_what_the_machine_does_is_told(watched: Watched) -> None:
    """No time for the event loop, a slow disk, a full one until there is room, the end."""
    block_the_event_loop()
    await watched.fires("AgentHubEventLoopLag")

    async def slow_send() -> None:
        await asyncio.gather(watched.hold(LATE), send(watched.hub.session, "away"))

    await watched.fires("AgentHubBackendSlow", slow_send)
    pages = watched.limit(1)
    sends = partial(refused, watched.hub, "away", "beta", 503)
    await watched.fires("AgentHubBackendDown", sends)
    await watched.fires("AgentHubBackendErrors", sends)
    watched.limit(pages)
    await watched.is_over("AgentHubBackendDown")
    assert watched.hub.runner is not None
    await watched.hub.runner.cleanup()
    await watched.fires("AgentHubDown")


def block_the_event_loop() -> None:
    time.sleep(LATE)


# --- on Redis -----------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_hints_that_do_not_arrive_are_told(
    server: Path, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything: dict[str, Any] = {"keys": "*", "channels": "*", "categories": ["+@all"]}
    with closing(redis.client()) as client:
        client.acl_setuser("hub", enabled=True, passwords="+x", **everything)
    url = f"redis://hub:x@127.0.0.1:{redis.port}/0"
    monkeypatch.setenv("AGENT_HUB_BACKEND", url)
    async with watched_hub(server, tmp_path / "hub") as watched:
        hub = watched.hub
        # Without this right it would not have started.
        with closing(redis.client()) as client:
            client.acl_setuser("hub", enabled=True, **everything, commands=["-subscribe"])

        async def found_late() -> None:
            body = {"agent_id": "reader", "wait": 8}
            reading = asyncio.ensure_future(post(hub.session, RECEIVE, body))
            for _ in range(3):  # by then it has looked, and waits
                await look(hub, "reader")
            await send(hub.session, "reader")
            await reading

        await watched.fires("AgentHubHintsLost", found_late)


async def test_a_redis_that_is_gone_is_told_until_it_is_back(
    server: Path, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HUB_BACKEND", redis.url)
    async with watched_hub(server, tmp_path / "hub") as watched:
        await asyncio.to_thread(redis.kill)
        await watched.fires("AgentHubBackendDown")
        await asyncio.to_thread(redis.restart)
        await watched.is_over("AgentHubBackendDown")

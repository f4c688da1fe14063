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
from tests.redis_server import RedisServer, redis_server
from tests.server import RunningHub, running_hub
from tests.web.caller import MESSAGES, RECEIVE
from tests.web.peer import look

pytestmark = pytest.mark.slow

FASTER = 60
HOUR = 3600 / FASTER
THRESHOLDS = {"> 240": f"> {240 / FASTER:g}"}
"""Ages are numbers in the rules, and are divided too."""
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

        await until(fired)
        (one, *_) = [
            one for one in await self.watching.alerts() if one["labels"]["alertname"] == alert
        ]
        assert one["labels"]["job"] == "agent-hub"
        for text in one["annotations"].values():
            assert text
            assert not set("{}<>") & set(text), text


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


async def test_no_alert_fires_in_an_hour_of_ordinary_load(watched: Watched) -> None:
    fired: set[str] = set()
    ends = time.monotonic() + HOUR
    while time.monotonic() < ends:
        await conversation(watched.hub)
        fired |= await watched.watching.firing()
    assert fired == set()
    asked = await watched.watching.value("sum(agenthub_messages_accepted_total)")
    assert asked is not None
    assert asked > 100


async def test_a_message_that_is_given_back_too_often_is_told(watched: Watched) -> None:
    await kill_one(watched.hub.session, "broken")
    await watched.fires("AgentHubDeadLetters")


async def test_mail_that_nobody_reads_is_told(watched: Watched) -> None:
    await send(watched.hub.session, "away", ttl=3600)
    await watched.fires("AgentHubOldMail")


async def test_mail_that_expires_is_told(watched: Watched) -> None:
    await watched.fires("AgentHubMailExpires", lambda: send(watched.hub.session, "away", ttl=1))


async def test_sends_that_are_refused_for_want_of_room_are_told(watched: Watched) -> None:
    body = {"from": "beta", "to": "full", "text": "x" * 200_000}
    status = 202
    while status == 202:
        async with watched.hub.session.post(MESSAGES, json=body) as answer:
            status = answer.status
    await watched.fires("AgentHubRefusesSends", lambda: refused(watched.hub, "full", "beta", 429))


async def test_a_late_event_loop_is_told(watched: Watched) -> None:
    async def block() -> None:
        time.sleep(LATE)  # noqa: ASYNC251 (this is what is to be told)

    await block()
    await watched.fires("AgentHubEventLoopLag")


async def test_a_full_disk_is_told_until_there_is_room(watched: Watched) -> None:
    pages = watched.limit(1)
    sends = partial(refused, watched.hub, "away", "beta", 503)
    await watched.fires("AgentHubBackendDown", sends)
    await watched.fires("AgentHubBackendErrors", sends)
    watched.limit(pages)

    async def over() -> bool:
        return "AgentHubBackendDown" not in await watched.watching.firing()

    await until(over)


async def test_a_slow_disk_is_told(watched: Watched) -> None:
    async def slow_send() -> None:
        await asyncio.gather(watched.hold(LATE), send(watched.hub.session, "away"))

    await watched.fires("AgentHubBackendSlow", slow_send)


async def test_a_failure_of_the_hub_is_told(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(watched.hub.hub, "agents", fail)
    async with watched.hub.session.get("/api/v1/agents") as answer:
        assert answer.status == 500
    await watched.fires("AgentHubInternalErrors")


async def test_a_hub_that_is_gone_is_told(watched: Watched) -> None:
    assert watched.hub.runner is not None
    await watched.hub.runner.cleanup()
    await watched.fires("AgentHubDown")


# --- on Redis -----------------------------------------------------------------------------


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_hints_that_do_not_arrive_are_told(
    server: Path, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(redis.client()) as client:
        client.acl_setuser(
            "deaf",
            enabled=True,
            passwords="+x",
            keys="*",
            channels="*",
            categories=["+@all"],
            commands=["-subscribe", "-psubscribe"],
        )
    url = f"redis://deaf:x@127.0.0.1:{redis.port}/0"
    monkeypatch.setenv("AGENT_HUB_BACKEND", url)
    async with watched_hub(server, tmp_path / "hub") as watched:
        hub = watched.hub

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

        async def over() -> bool:
            return "AgentHubBackendDown" not in await watched.watching.firing()

        await until(over)

"""Each alert's condition, brought about on a running hub; Prometheus's hours pass in seconds.

Every duration of the rules is divided by `FASTER`: a window of five minutes is one of two and a
half seconds, over scrapes that come faster too. promtool tests the rules at their real pace.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent_hub.clock import SystemClock
from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.backends.sqlite_files import page_limit
from tests.deploy import files
from tests.deploy.prometheus import Prometheus, hurried_rules, prometheus, until
from tests.deploy.test_prometheus import kill_one, post, send
from tests.server import RunningHub, running_hub
from tests.web.caller import MESSAGES, RECEIVE

pytestmark = pytest.mark.slow

FASTER = 120
HOUR = 3600 / FASTER
THRESHOLDS = {"> 240": f"> {240 / FASTER:g}"}
"""Ages are numbers in the rules, and are divided too."""
LATE = 1.5
"""Seconds for which the event loop, or a write to the disk, is held up."""


class Disk(sqlite3.Connection):
    """A connection whose writes take their time when they are told to."""

    drag = 0.0
    never = threading.Event()

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith("INSERT"):
            self.never.wait(self.drag)
        return super().execute(sql, *parameters)


class Watched:
    """A hub, its store, and the Prometheus that watches it."""

    def __init__(
        self, hub: RunningHub, store: SqliteBackend, disk: type[Disk], watching: Prometheus
    ) -> None:
        self.hub = hub
        self.store = store
        self.disk = disk
        self.watching = watching

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
async def watched(server: Path, tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched_hub(server, tmp_path) as watched:
        yield watched


@asynccontextmanager
async def watched_hub(server: Path, folder: Path) -> AsyncIterator[Watched]:
    disk = type("Disk", (Disk,), {})
    connect = partial(sqlite3.connect, factory=disk)
    store = SqliteBackend(folder / "hub.db", SystemClock(), connect=connect)
    rules = hurried_rules(files.ALERTS, FASTER, THRESHOLDS)
    async with running_hub(backend=store, clock=SystemClock()) as hub:
        address = hub.url.removeprefix("http://")
        place = folder / "prometheus"
        async with prometheus(server, place, address, every="250ms", rules=rules) as watching:
            await watching.scraped()
            yield Watched(hub, store, disk, watching)


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
    pages = page_limit(watched.store, 1)
    sends = partial(refused, watched.hub, "away", "beta", 503)
    await watched.fires("AgentHubBackendDown", sends)
    page_limit(watched.store, pages)

    async def over() -> bool:
        return "AgentHubBackendDown" not in await watched.watching.firing()

    await until(over)


async def test_a_failure_of_the_hub_is_told(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(watched.hub.hub, "agents", fail)
    async with watched.hub.session.get("/api/v1/agents") as answer:
        assert answer.status == 500
    await watched.fires("AgentHubInternalErrors")


async def test_a_hub_that_is_gone_is_told(server: Path, tmp_path: Path) -> None:
    async with watched_hub(server, tmp_path) as watched:
        assert watched.hub.runner is not None
        await watched.hub.runner.cleanup()
        await watched.fires("AgentHubDown")

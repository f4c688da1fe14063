"""A real Prometheus scrapes a running hub: the names are good, and the sums come out."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from aiohttp import ClientSession

from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.acceptance.process import HubProcess, hub_process
from tests.acceptance.test_killed_client import READER
from tests.backends.sqlite_files import page_limit
from tests.deploy import files
from tests.deploy.prometheus import prometheus
from tests.redis_server import redis_server
from tests.server import RunningHub, running_hub
from tests.web.caller import ACK, MESSAGES, RECEIVE, REGISTER

pytestmark = pytest.mark.slow

WAITING = 'sum(agenthub_inbox_messages{state=~"ready|leased"})'
ENDS = ("acked", "expired", "dead", "dropped")
UNACCOUNTED = " - ".join(
    ["sum(agenthub_messages_accepted_total)"]
    + [f"sum(agenthub_messages_{end}_total)" for end in ENDS]
    + [WAITING]
)
NAME = re.compile(r"\b(?:agenthub|process)_[a-z_]+\b|\bup\b")
GIVEN_BACK = 6
MOST_IN_AN_INBOX = 1_000


def checked(command: list[str | Path], *, cwd: Path | None = None, text: str | None = None) -> str:
    """What a checker said, that found no fault."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=cwd, input=text, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


# --- files --------------------------------------------------------------------------------


def test_promtool_finds_no_fault_in_configuration_and_rules(promtool: Path) -> None:
    assert "SUCCESS" in checked([promtool, "check", "config", files.PROMETHEUS])
    assert f"{len(files.rules())} rules found" in checked(
        [promtool, "check", "rules", files.ALERTS]
    )


def test_every_alert_fires_on_its_condition_and_none_in_an_hour_of_ordinary_load(
    promtool: Path,
) -> None:
    folder = files.ALERTS.parent
    assert "SUCCESS" in checked([promtool, "test", "rules", "alerts_test.yml"], cwd=folder)


@pytest.fixture(autouse=True)
def on_a_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The calls of a store in memory are not timed: there is nothing to see."""
    monkeypatch.setenv("AGENT_HUB_BACKEND", f"sqlite:///{tmp_path / 'hub.db'}")


async def test_promtool_finds_no_fault_in_the_metrics(promtool: Path) -> None:
    async with running_hub() as hub:
        await a_bit_of_everything(hub.session)
        async with hub.session.get("/metrics") as answer:
            text = await answer.text()
    said = await asyncio.to_thread(checked, [promtool, "check", "metrics"], text=text)
    assert said == ""


# --- a running hub ------------------------------------------------------------------------


async def post(session: ClientSession, path: str, body: Any) -> Any:
    async with session.post(path, json=body) as answer:
        told = await answer.json(content_type=None)
        assert answer.status in (200, 201, 202), told
        return told


async def send(session: ClientSession, to: str, **more: Any) -> Any:
    return await post(session, MESSAGES, {"from": "sender", "to": to, "text": "x", **more})


async def a_bit_of_everything(session: ClientSession) -> None:
    for agent in ("alpha", "beta"):
        await post(session, REGISTER, {"agent_id": agent})
    await send(session, "ALL")
    await send(session, "alpha", wait=0)
    await post(session, RECEIVE, {"agent_id": "alpha"})
    body = {"from": "alpha", "to": "alpha", "text": "x", "wait": 1}
    async with session.post(MESSAGES, json=body) as refused:
        assert refused.status == 422
    async with session.ws_connect("/ws/alpha") as socket:
        await socket.receive()


async def fail_once(hub: RunningHub) -> None:
    """A send that the store cannot take, and one that it can again."""
    store = cast(SqliteBackend, hub.hub._backend)
    pages = page_limit(store, 1)
    body = {"from": "sender", "to": "alpha", "text": "x" * 100_000}
    async with hub.session.post(MESSAGES, json=body) as refused:
        assert refused.status == 503
    page_limit(store, pages)
    await send(hub.session, "alpha")


async def kill_one(session: ClientSession, name: str) -> None:
    """Give a message back until it is dead."""
    await send(session, name, ttl=3600)
    for _ in range(GIVEN_BACK):
        taken = await post(session, RECEIVE, {"agent_id": name, "ack": "manual"})
        ids = [message["id"] for message in taken["messages"]]
        body = {"agent_id": name, "release": ids, "lease_id": taken["lease_id"]}
        assert (await post(session, ACK, body))["released"] == 1


async def overfill(session: ClientSession) -> None:
    """Push messages out of an inbox (the hub drops the oldest)."""
    for number in range(MOST_IN_AN_INBOX + 20):
        body = {"from": f"sender-{number % 4}", "to": "full", "text": "x", "ttl": 3600}
        await post(session, MESSAGES, body)


async def read_some(session: ClientSession, name: str, rounds: int) -> None:
    """Take, and acknowledge some of it."""
    for _ in range(rounds):
        body = {"agent_id": name, "ack": "manual", "lease": 1, "limit": 5, "wait": 1}
        taken = await post(session, RECEIVE, body)
        ids = [message["id"] for message in taken["messages"]][::2]
        await post(session, ACK, {"agent_id": name, "ids": ids})


async def killed_readers(hub: HubProcess, name: str, kills: int) -> None:
    """Readers on a socket that are killed in the middle of their mail."""
    url = hub.url.replace("http:", "ws:") + f"/ws/{name}"
    for _ in range(kills):
        for _ in range(20):
            await send(hub.session, name, ttl=3600)
        command = (sys.executable, str(READER), url)
        reader = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=DEVNULL)
        assert reader.stdout is not None
        for _ in range(10):
            await reader.stdout.readline()
        reader.kill()
        await reader.communicate()


async def write(session: ClientSession, sender: str, count: int) -> None:
    random = Random(sender)
    for _ in range(count):
        to = random.choice(("manual", "socket", "nobody", "ALL"))
        ttl = random.choice((1, 3600))
        await post(session, MESSAGES, {"from": sender, "to": to, "text": "x", "ttl": ttl})


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store, as the setting names it."""
    if request.param == "redis":
        with redis_server() as redis:
            yield redis.url
    else:
        yield {"memory": "memory", "sqlite": f"sqlite:///{tmp_path / 'hub.db'}"}[request.param]


async def test_after_a_mixed_load_with_kills_of_readers_every_message_is_accounted_for(
    server: Path, store: str, tmp_path: Path
) -> None:
    flags = ("--rate-limit", "0", "--overflow", "drop-oldest", "--backend", store)
    async with hub_process(*flags) as hub:
        address = hub.url.removeprefix("http://")
        async with prometheus(server, tmp_path / "prometheus", address) as watching:
            for name in ("manual", "socket"):
                await post(hub.session, REGISTER, {"agent_id": name})
            async with asyncio.timeout(120):
                await asyncio.gather(
                    *(write(hub.session, f"writer-{number}", 150) for number in range(4)),
                    read_some(hub.session, "manual", 20),
                    killed_readers(hub, "socket", 5),
                    kill_one(hub.session, "broken"),
                    overfill(hub.session),
                )
            await watching.scraped()
            assert await watching.value(UNACCOUNTED) == 0
            for end in ENDS:
                assert (await watching.value(f"sum(agenthub_messages_{end}_total)") or 0) > 0, end
            assert (await watching.value(WAITING) or 0) > 0
            assert set(await watching.history("up", 600)) == {1}


async def test_every_expression_of_dashboard_and_alerts_means_something_to_prometheus(
    server: Path, tmp_path: Path
) -> None:
    expressions = files.dashboard_expressions() + [rule["expr"] for rule in files.rules()]
    async with running_hub() as hub:
        address = hub.url.removeprefix("http://")
        async with prometheus(server, tmp_path / "prometheus", address) as watching:
            for _ in range(3):  # to grow, a counter must have been seen before
                await a_bit_of_everything(hub.session)
                await fail_once(hub)
                await watching.scraped()
            # A counter's name ends in _total in one format and has no end in the other.
            told = await watching.names()
            known = told | {f"{name}_total" for name in told} | {"up"}
            for expression in expressions:
                await watching.query(expression)
                assert metrics_of(expression) <= known, expression
            shown = [one for one in files.dashboard_expressions() if await watching.query(one)]
    assert shown == files.dashboard_expressions()


def metrics_of(expression: str) -> set[str]:
    """The names of the metrics in an expression, as their type lines have them."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAME.findall(expression)}

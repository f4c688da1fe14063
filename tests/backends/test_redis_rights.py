"""The Redis user of the page on backends: it may do all that the hub does, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, nullcontext
from itertools import count
from pathlib import Path

import pytest

from agent_hub.auth.redis_store import RedisStore
from agent_hub.auth.store import Kind
from agent_hub.core.agent import Agent
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.limits import Limits
from agent_hub.queue_backends.redis.lua import scripts
from tests.backends import test_redis_scripts
from tests.backends.mail import send, take_and_ack
from tests.backends.redis_stores import TemporaryRedis, server
from tests.clock import ManualClock
from tests.redis_server import redis_server

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
USER = "hub"
_numbers = count(1)


def rights() -> list[str]:
    """As the page says them, after the name of the user."""
    found = re.search(r"ACL SETUSER hub ((?:.+\n)+)", PAGE.read_text(encoding="utf-8"))
    assert found is not None
    return found.group(1).split()


class Limited(TemporaryRedis):
    """As that user."""

    def __init__(self, clock: ManualClock, limits: Limits, *, prefix: str | None = None) -> None:
        super().__init__(clock, limits, prefix=prefix or f"agenthub:{next(_numbers)}")
        self._url = url_of_user(cluster=self.cluster)


class LimitedCluster(Limited):
    cluster = True


def url_of_user(*, cluster: bool) -> str:
    return server(cluster=cluster).url.replace("://", f"://{USER}:password@")


@pytest.fixture(params=[False, True])
def cluster(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Where there is such a user."""
    with closing(server(cluster=bool(request.param)).client()) as client:
        client.execute_command("ACL", "SETUSER", USER, *rights())  # type: ignore[no-untyped-call]
        yield bool(request.param)
        client.execute_command("ACL", "DELUSER", USER)  # type: ignore[no-untyped-call]


async def test_it_may_do_what_a_hub_does(cluster: bool, clock: ManualClock) -> None:
    hub = (LimitedCluster if cluster else Limited)(clock, Limits())
    await hub.open()
    await hub.ping()
    await hub.put_agent(Agent(agent_id="alpha"))
    await send(hub, "a", "b")
    assert len(await take_and_ack(hub)) == 2
    await hub.sweep()
    assert [agent.agent_id for agent in await hub.agents()] == ["alpha"]
    assert (await hub.totals()).acked == 2
    await hub.caught_up()
    await hub.close()


async def test_it_may_keep_credentials(cluster: bool) -> None:
    store = RedisStore(url_of_user(cluster=cluster), lambda: 0.0, prefix="agenthub:rights")
    await store.open()
    assert await store.put(Kind.TOKEN, "k", b"v", expires_at=4e9)
    assert [entry.value for entry in await store.entries(Kind.TOKEN)] == [b"v"]
    assert await store.delete(Kind.TOKEN, "k")
    await store.close()


async def test_another_database_takes_one_right_more() -> None:
    assert "`+select` where the URL names another database" in PAGE.read_text(encoding="utf-8")
    with redis_server() as own, closing(own.client()) as client:
        url = own.url.replace("://", f"://{USER}:password@").removesuffix("0") + "3"
        for more, may in (((), False), (("+select",), True)):
            client.execute_command("ACL", "SETUSER", USER, *rights(), *more)  # type: ignore[no-untyped-call]
            store = RedisStore(url, lambda: 0.0)
            with nullcontext() if may else pytest.raises(BackendUnavailable):
                await store.open()
            await store.close()


def test_it_may_run_every_command_of_the_scripts() -> None:
    texts = [scripts.load(name, test_redis_scripts.LIMITS).text for name in scripts.names()]
    called = {word.lower() for text in texts for word, _ in test_redis_scripts.CALL.findall(text)}
    assert called <= {right.removeprefix("+") for right in rights()}


@pytest.mark.slow
async def test_it_may_do_all_that_the_promise_asks_for(
    cluster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = LimitedCluster if cluster else Limited
    monkeypatch.setattr(test_redis_scripts, "TemporaryRedis", kind)
    failed = [
        scenario.__name__
        for scenario in test_redis_scripts.scenarios()
        if not await test_redis_scripts.holds(scenario)
    ]
    assert failed == []

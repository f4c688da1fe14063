"""Redis is killed or hangs under load: the hubs stay up, say so, and go on when it is back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.acceptance.load.checker import Findings
from tests.acceptance.load.running import Load, loading
from tests.acceptance.node import Node, nodes, ready
from tests.redis_server import RedisServer, redis_server

AWAY_SECONDS = 3.0
BY_REST, BY_SOCKET = 4, 4
# Promised are 2 s and 5 s; a machine that does more than this has its own idea of time.
REFUSAL_SECONDS = 4.0
RESUMPTION_SECONDS = 10.0


def kill(redis: RedisServer) -> None:
    redis.kill()


def start_again(redis: RedisServer) -> None:
    redis.restart()


def freeze(redis: RedisServer) -> None:
    """It takes what is sent to it, and does it when it is thawed: long after anybody asked."""
    redis.process.send_signal(signal.SIGSTOP)


def thaw(redis: RedisServer) -> None:
    redis.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("end", "begin_again"),
    [
        pytest.param(kill, start_again, id="killed", marks=pytest.mark.slow),
        pytest.param(freeze, thaw, id="frozen", marks=pytest.mark.slow),
    ],
)
async def test_redis_that_was_away_under_load_comes_back_with_all_that_was_accepted(
    end: Callable[[RedisServer], None], begin_again: Callable[[RedisServer], None], tmp_path: Path
) -> None:
    with redis_server(append_only="always") as redis:
        async with (
            nodes(tmp_path, 2, "--backend", redis.url) as hubs,
            loading(tmp_path, *(hub.url for hub in hubs)) as load,
        ):
            await begin(load)
            end(redis)
            await asyncio.gather(*(says_that_redis_is_away(hub) for hub in hubs))
            await asyncio.sleep(AWAY_SECONDS)
            begin_again(redis)
            back_at = time.time()
            await load.until(partial(load.has_accepted, load.accepted + 500))
            assert [hub.process.returncode for hub in hubs] == [None, None]
            await finish(load)
            findings = load.findings()
    findings.check()
    assert len(findings.opened) == BY_SOCKET, "a socket was opened anew"
    assert {refused["code"] for refused in findings.refused} == {"backend_unavailable"}
    report(findings, back_at)


async def begin(load: Load) -> None:
    """Readers of every kind, and a load that leaves the machine time to breathe."""
    by_hand = BY_REST + BY_SOCKET // 2
    await load.start("rest", BY_REST)
    await load.start("auto", by_hand - BY_REST, first=BY_REST)
    await load.start("manual", BY_REST + BY_SOCKET - by_hand, first=by_hand)
    await load.until(partial(load.has_opened, BY_SOCKET))
    await load.start("send", 8, "--readers", str(BY_REST + BY_SOCKET), "--pause", "0.03")
    await load.until(partial(load.has_accepted, 500))


async def finish(load: Load) -> None:
    await load.stop("send")
    await load.until(load.has_read_all)
    await load.stop("auto", "manual", "rest")


async def says_that_redis_is_away(hub: Node) -> None:
    """A send is refused, and refused soon; the hub is not ready, and alive."""
    async with ClientSession(hub.url) as session:
        async with asyncio.timeout(REFUSAL_SECONDS):
            body = {"from": "one", "to": "reader-0", "text": "lost?"}
            async with session.post("/api/v1/messages", json=body) as response:
                answer = await response.json()
        assert (response.status, answer["code"]) == (503, "backend_unavailable")
        assert int(response.headers["Retry-After"]) >= 1
        assert await ready(session) == 503
        async with session.get("/livez") as response:
            assert response.status == 200


def report(findings: Findings, back_at: float) -> None:
    """Each socket went on by itself, and soon; so did the sends."""
    resumed = {
        reader: min(
            read["at"] - back_at
            for reads in findings.read.values()
            for read in reads
            if read["to"] == reader and read["at"] > back_at
        )
        for reader in {opened["reader"] for opened in findings.opened}
    }
    slowest = max(refused["seconds"] for refused in findings.refused)
    print(  # noqa: T201
        f"{len(findings.accepted)} accepted, all read; {len(findings.refused)} calls refused, "
        f"after {slowest:.2f} s at the most; sockets went on after "
        f"{' '.join(f'{seconds:.2f}' for seconds in sorted(resumed.values()))} s"
    )
    assert slowest < REFUSAL_SECONDS
    assert max(resumed.values()) < RESUMPTION_SECONDS

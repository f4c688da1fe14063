"""The connection on which wake-ups come is cut again and again: nothing is lost, little is late."""

from __future__ import annotations

import asyncio
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.acceptance.load.running import loading
from tests.acceptance.node import nodes
from tests.redis_server import RedisServer

SOCKETS, BY_REST = 4, 4
LATE_SECONDS = 6.5
"""A reader that no hint reaches looks by itself every 5 s, give or take a fifth."""


@pytest.mark.parametrize(
    ("cuts", "seconds"),
    [
        pytest.param(8, 0.25, marks=pytest.mark.slow),
        pytest.param(60, 1.0, marks=pytest.mark.soak),
    ],
)
async def test_a_hub_whose_wake_ups_are_cut_off_again_and_again_delivers_all_of_them(
    cuts: int, seconds: float, redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.flush()
    async with (
        nodes(tmp_path, 2, "--backend", redis_server.url) as hubs,
        loading(tmp_path, *(hub.url for hub in hubs)) as load,
    ):
        await load.start("rest", BY_REST)
        await load.start("auto", SOCKETS, first=BY_REST)
        await load.until(partial(load.has_opened, SOCKETS))
        await load.start("send", 8, "--readers", str(SOCKETS + BY_REST), "--pause", "0.05")
        cut = 0
        for _ in range(cuts):
            with closing(redis_server.client()) as client:
                cut += int(client.client_kill_filter(_type="pubsub"))
            await asyncio.sleep(seconds)
        await load.stop("send")
        await load.until(load.has_read_all)
        await load.stop("auto", "rest")
        findings = load.findings()
    findings.check()
    print(  # noqa: T201
        f"{cut} connections cut, {len(findings.accepted)} accepted, all read; delivery p50 "
        f"{findings.percentile(50) * 1e3:.0f} ms, p99 {findings.percentile(99) * 1e3:.0f} ms, "
        f"longest {max(findings.delays()):.2f} s"
    )
    assert cut >= cuts, "the hubs were not listening"
    assert not findings.refused
    assert len(findings.opened) == SOCKETS
    assert findings.percentile(99) < LATE_SECONDS

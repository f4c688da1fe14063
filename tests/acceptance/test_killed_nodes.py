"""Hubs that share a Redis are killed one at a time while clients fail over: nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.node import nodes
from tests.acceptance.storm import storm
from tests.redis_server import redis_server


@pytest.mark.parametrize(
    ("kills", "messages", "senders", "readers"),
    [
        pytest.param(3, 1_500, 8, 4, marks=pytest.mark.slow),
        pytest.param(20, 50_000, 32, 16, marks=pytest.mark.soak),
    ],
)
async def test_killed_one_at_a_time_two_hubs_on_redis_lose_nothing(
    kills: int, messages: int, senders: int, readers: int, tmp_path: Path
) -> None:
    with redis_server(append_only="always") as redis:
        async with nodes(tmp_path, 2, "--backend", redis.url) as hubs:
            findings = await storm(
                *(tmp_path, hubs), kills=kills, messages=messages, senders=senders, readers=readers
            )
    findings.check()
    findings.check_acked()
    assert {sent["durability"] for sent in findings.accepted.values()} == {"redis-aof"}


@pytest.mark.soak
@pytest.mark.parametrize("by", ["auto", "manual"])
async def test_killed_one_at_a_time_two_hubs_on_redis_lose_nothing_of_their_sockets(
    by: str, tmp_path: Path
) -> None:
    with redis_server(append_only="always") as redis:
        async with nodes(tmp_path, 2, "--backend", redis.url) as hubs:
            findings = await storm(
                *(tmp_path, hubs), kills=5, messages=3_000, senders=8, readers=8, by=by
            )
    findings.check()

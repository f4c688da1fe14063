"""The hub is killed under load, again and again: on SQLite nothing that it accepted is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.node import nodes
from tests.acceptance.storm import storm


@pytest.mark.parametrize(
    ("kills", "messages", "senders", "readers"),
    [
        pytest.param(3, 1_500, 8, 4, marks=pytest.mark.slow),
        pytest.param(20, 50_000, 32, 16, marks=pytest.mark.soak),
    ],
)
async def test_killed_under_load_a_hub_on_sqlite_loses_nothing(
    kills: int, messages: int, senders: int, readers: int, tmp_path: Path
) -> None:
    async with nodes(tmp_path, 1, "--backend", f"sqlite:///{tmp_path}/hub.db") as hubs:
        findings = await storm(
            *(tmp_path, hubs), kills=kills, messages=messages, senders=senders, readers=readers
        )
    findings.check()
    findings.check_acked()
    assert {sent["durability"] for sent in findings.accepted.values()} == {"disk"}

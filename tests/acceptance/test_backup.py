"""The lines of docs/operate.md that back up and restore a SQLite file do so, the hub at work."""

from __future__ import annotations

import asyncio
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.process import ROOT, HubProcess, hub_process

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
PLACE = "/var/lib/agent-hub"
HOUR = 3_600


def lines(name: str) -> str:
    """The shell lines that the page gives under this name."""
    (found,) = re.findall(rf"<!-- test: {name} -->\n```bash\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def run(name: str, state: Path, folder: Path) -> None:
    """Do what the page says, with the hub's files in `state`."""
    script = lines(name).replace(PLACE, str(state))
    assert script != lines(name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    subprocess.run(["sh", "-ec", script], cwd=folder, env=environment, check=True, timeout=60)


async def post(hub: HubProcess, path: str, body: Any) -> Any:
    async with hub.session.post(f"/api/v1/messages{path}", json=body) as answer:
        assert answer.status in (200, 202)
        return await answer.json()


async def send(hub: HubProcess, text: str) -> None:
    await post(hub, "", {"from": "beta", "to": "alpha", "text": text, "ttl": HOUR})


async def take(hub: HubProcess, count: int) -> list[str]:
    taken = await post(hub, "/receive", {"agent_id": "alpha", "limit": count})
    return [message["text"] for message in taken["messages"]]


async def test_a_backup_of_a_working_hub_restores_what_was_there(tmp_path: Path) -> None:
    state = tmp_path / "state"
    backend = ("--backend", f"sqlite:///{state}/agent-hub.db", "--rate-limit", "0")
    async with hub_process(*backend) as hub:
        for number in range(100):
            await send(hub, f"before {number}")
        assert len(await take(hub, 40)) == 40
        await post(hub, "/ack", {"agent_id": "alpha"})  # its answer comes after those acks
        writing = asyncio.ensure_future(send_on(hub))
        await asyncio.to_thread(run, "backup", state, tmp_path)
        writing.cancel()
        hub.process.kill()
    backup = tmp_path / "backup.db"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    run("restore", state, tmp_path)
    async with hub_process(*backend) as hub:
        texts = await take(hub, 200)
        waiting = [text for text in texts if text.startswith("before")]
        later = [text for text in texts if text.startswith("meanwhile")]
        assert waiting[-60:] == [f"before {number}" for number in range(40, 100)]
        assert later == [f"meanwhile {number}" for number in range(len(later))]
        await send(hub, "after")
        while later[-1:] != ["after"]:
            later = await take(hub, 200)
    assert not list(state.glob("*damaged*"))


async def send_on(hub: HubProcess) -> None:
    number = 0
    while True:
        await send(hub, f"meanwhile {number}")
        number += 1

"""The example is a program: it runs as a user would run it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer, unused_port

from agent_hub.app import create_app
from agent_hub.config import Settings
from tests.patience import PATIENCE

EXAMPLE = Path(__file__).parent.parent / "client_example.py"


def run_example(*arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLE, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "HUB_URL": url} if url else None,
    )


@pytest.mark.parametrize("as_argument", [True, False])
async def test_against_a_running_hub_the_example_holds_its_whole_conversation(
    as_argument: bool,
) -> None:
    async with TestServer(create_app(Settings())) as hub:
        url = str(hub.make_url("/"))
        named = {"url": "http://nowhere.invalid" if as_argument else url}
        arguments = [url] if as_argument else []
        ended = await asyncio.to_thread(run_example, *arguments, **named)
    assert ended.stderr == ""
    assert ended.returncode == 0
    said = re.sub(r"-[0-9a-f]{8}", "", ended.stdout).splitlines()
    assert [line for line in said if "alpha reads" not in line] == [
        "alpha is registered",
        "beta is registered",
        "beta proposes a task to everybody",
        "  accepted for 1 agent(s)",
        "beta greets alpha",
        "beta asks alpha, and waits for the answer",
        "  alpha answered: Yes, ready.",
        "both have left",
    ]
    assert [line for line in said if "alpha reads" in line] == [
        "  alpha reads a task_proposal: {'type': 'task_proposal', 'task': 'code_review'}",
        "  alpha reads a message: Hello Alpha!",
        "  alpha reads a request: Ready for the review?",
    ]


def test_without_a_hub_the_example_says_so_in_one_line() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    ended = run_example(url)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert url in ended.stderr

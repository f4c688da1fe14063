"""The example is a program: it runs as a user would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from aiohttp.test_utils import unused_port

EXAMPLE = Path(__file__).parent.parent / "client_example.py"


def run_example(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, EXAMPLE, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_hub_the_example_says_so_in_one_line() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    ended = run_example(url)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert url in ended.stderr

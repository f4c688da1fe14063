"""The README works as it stands."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent_hub.config import OLDER_NAMES, PREFIX, Settings, flag_name
from tests.server import running_hub
from tests.shell import Shell, line

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"^\| `(--[a-z-]+)` \| `(\w+)` \| (.+?) \| .+ \|$", re.MULTILINE)
URL = "http://localhost:8080"


def fences(language: str) -> list[str]:
    return [body for found, body in FENCE.findall(README) if found == language]


def python(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(program: str) -> tuple[str, str]:
    with python(program) as running:
        try:
            return running.communicate(timeout=60)
        finally:
            running.kill()


@pytest.mark.parametrize(
    "command",
    [
        "pip install -r requirements.txt && python server.py\n",
        "pip install -r requirements-dev.txt && pytest\n",
    ],
)
def test_each_of_the_two_commands_stands_alone_in_its_fence(command: str) -> None:
    assert fences("bash").count(command) == 1


async def test_the_listener_of_the_second_terminal_prints_what_is_sent() -> None:
    command = "python -m agent_hub listen alpha-01RXGe86"
    assert fences("bash").count(f"{command}\n") == 1
    async with running_hub() as hub:
        draft = {"from": "beta-01TYEi4M", "to": "alpha-01RXGe86", "message": "Hello Alpha!"}
        async with hub.session.post("/api/v1/messages", json=draft) as answer:
            assert answer.status == 202
        async with Shell(hub.url).running(*command.split()[3:]) as listening:
            assert await line(listening.stdout) == "beta-01TYEi4M: Hello Alpha!\n"


async def test_the_python_example_holds_its_conversation() -> None:
    (program,) = fences("python")
    assert URL in program
    async with running_hub() as hub:
        said, faults = await asyncio.to_thread(outcome, program.replace(URL, hub.url))
    assert faults == ""
    assert said.splitlines() == [
        "alpha reads a task_proposal: {'type': 'task_proposal', 'task': 'code_review'}",
        "alpha reads a request: Ready?",
        "beta's question was replied: Yes, ready.",
    ]


def shown(default: object) -> str:
    """A default as the table shows it."""
    if default == ():
        return "none"
    if default is False:
        return "off"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_the_settings_that_are_named_are_those_of_the_code() -> None:
    """All of them are in docs/settings.md, which another test compares."""
    named = SETTING.findall(README)
    known = [
        (flag_name(name), PREFIX + name.upper(), shown(field.default))
        for name, field in Settings.model_fields.items()
    ]
    assert named == [one for one in known if one in named]
    assert {"--host", "--port", "--backend", "--auth"} <= {flag for flag, _, _ in named}


@pytest.mark.parametrize("name", OLDER_NAMES)
def test_the_older_names_are_mentioned(name: str) -> None:
    assert f"`{name}`" in README

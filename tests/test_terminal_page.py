"""docs/terminal.md: what it lists is there, and its examples run as they stand."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_hub.terminal.commands import ENDINGS
from agent_hub.terminal.flags import COMMANDS
from tests.acceptance.process import ROOT
from tests.clock import ManualClock
from tests.server import RunningHub
from tests.shell import Shell, asked, end
from tests.web.caller import Caller

PAGE = (ROOT / "docs" / "terminal.md").read_text(encoding="utf-8")
COUNTER, REVIEW, REPORT, LOOP, WORKER = re.findall(
    r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)

AGENT_HUB = f"""#!/bin/sh
exec {sys.executable} -m agent_hub "$@"
"""
# As much of jq as the page needs: not every machine has it.
JQ = f"""#!{sys.executable}
import json, sys
print(json.load(sys.stdin)[sys.argv[2].removeprefix(".")])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the examples run, with the programs that they call."""
    for name, program in (("agent-hub", AGENT_HUB), ("jq", JQ)):
        path = tmp_path / name
        path.write_text(program, encoding="utf-8")
        path.chmod(0o755)
    (tmp_path / "change.patch").write_text("+ a line\n", encoding="utf-8")
    return tmp_path


@asynccontextmanager
async def script(text: str, hub: RunningHub, folder: Path) -> AsyncIterator[Process]:
    """A shell that runs it; killed at the end with all that it started."""
    variables = Shell(hub.url).variables
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", text),
        cwd=folder,
        env={**variables, "PATH": f"{folder}{os.pathsep}{variables['PATH']}"},
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_the_ci_step_has_its_review(served: RunningHub, rest: Caller, folder: Path) -> None:
    async with script(REVIEW, served, folder) as step:
        await asked(served)
        [question] = (await rest.receive("reviewer"))["messages"]
        assert (question["type"], question["text"]) == ("request", "+ a line")
        await rest.send("reviewer", "ci", "Fine.\nDo it.", reply_to=question["id"])
        assert (await end(step)).code == 0
    assert (folder / "review.txt").read_text(encoding="utf-8") == "Fine.\nDo it.\n"


async def test_the_ci_step_goes_on_without_a_review(
    served: RunningHub, folder: Path, clock: ManualClock
) -> None:
    async with script(REVIEW, served, folder) as step:
        await asked(served)
        await clock.advance(301)
        ended = await end(step)
    assert (ended.code, ended.out) == (0, "the reviewer takes longer than five minutes\n")


async def test_the_cron_job_reports(served: RunningHub, rest: Caller, folder: Path) -> None:
    async with script(REPORT, served, folder) as job:
        assert (await end(job)).code == 0
    [message] = (await rest.receive("ops"))["messages"]
    assert (message["type"], message["from"]) == ("report", "cron")
    assert "\n" in message["text"]


@pytest.mark.parametrize(
    ("agent_id", "text"),
    [("worker", LOOP), ("worker", WORKER), ("counter", COUNTER)],
    ids=["loop", "worker", "counter"],
)
async def test_what_counts_words_answers_one_message_after_the_other(
    served: RunningHub, rest: Caller, folder: Path, agent_id: str, text: str
) -> None:
    async with script(text, served, folder):
        for words, count in (("one two\nthree", "3"), ("one", "1")):
            answer = await rest.send("beta", agent_id, words, wait=50)
            assert answer["status"] == "replied"
            assert answer["reply"]["text"].strip() == count


def test_the_page_lists_every_command_and_every_way_in_which_a_question_ends() -> None:
    assert set(re.findall(r"^\| `agent-hub (\w+)", PAGE, re.MULTILINE)) == set(COMMANDS)
    codes = re.findall(r"^\| (\d+)\b", PAGE, re.MULTILINE)
    assert set(map(str, ENDINGS.values())) <= set(codes)

"""`python server.py`, as a user starts it, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20.0


class HubProcess:
    """Where it listens, and the process."""

    def __init__(self, url: str, process: Process, session: ClientSession) -> None:
        self.url = url
        self.process = process
        self.session = session


@asynccontextmanager
async def hub_process(*flags: str) -> AsyncIterator[HubProcess]:
    """A hub with these flags on a free port; killed at the end if it still runs.

    In memory, if the flags do not say otherwise.
    """
    settings = {k: v for k, v in os.environ.items() if not k.upper().startswith("AGENT_HUB_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "server.py"), "--port", "0", "--backend", "memory", *flags),
        stderr=PIPE,
        stdout=DEVNULL,
        env=settings,
    )
    try:
        url = await _address(process)
        async with ClientSession(url, timeout=ClientTimeout(total=60)) as session:
            yield HubProcess(url, process, session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _address(process: Process) -> str:
    """The hub logs it once it listens."""
    assert process.stderr is not None
    event = ""
    async with asyncio.timeout(PATIENCE):
        while "listens on" not in event:
            event = str(json.loads(await process.stderr.readline())["event"])
    return event.rpartition(" ")[2]

"""`python server.py`, as a user starts it, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout

from tests import canary
from tests.patience import PATIENCE
from tests.surroundings import surroundings

ROOT = Path(__file__).parent.parent.parent


class Log:
    """What a hub writes, as it writes it."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self.lines: list[str] = []
        self.leaks: list[str] = []
        self._stream = stream
        self._more = asyncio.Condition()

    async def follow(self) -> None:
        """Until the hub ends: a hub whose log nobody reads would stand still."""
        async for line in self._stream:
            async with self._more:
                self.leaks += [leak] if (leak := canary.found_in(line.decode())) else []
                self.lines.append(line.decode())
                self._more.notify_all()

    async def event(self, text: str) -> dict[str, Any]:
        """The first record whose event has this in it, as soon as it is there."""
        async with asyncio.timeout(PATIENCE), self._more:
            while True:
                for line in self.lines:
                    record = json.loads(line)
                    if text in record["event"]:
                        assert isinstance(record, dict)
                        return record
                await self._more.wait()


class HubProcess:
    """Where it listens, the process, and its log."""

    def __init__(self, url: str, process: Process, session: ClientSession, log: Log) -> None:
        self.url = url
        self.process = process
        self.session = session
        self.log = log


@asynccontextmanager
async def hub_process(
    *flags: str, folder: Path | None = None, variables: Mapping[str, str] | None = None
) -> AsyncIterator[HubProcess]:
    """A hub with these flags on a free port; killed at the end if it still runs.

    In memory, if neither flags nor variables say otherwise. `folder` is its working directory.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "server.py"), "--port", "0", *flags),
        stderr=PIPE,
        stdout=DEVNULL,
        cwd=folder,
        env=surroundings(**{"AGENT_HUB_BACKEND": "memory", **(variables or {})}),
    )
    assert process.stderr is not None
    log = Log(process.stderr)
    following = asyncio.ensure_future(log.follow())
    try:
        url = (await log.event("listens on"))["event"].rpartition(" ")[2]
        async with ClientSession(url, timeout=ClientTimeout(total=60)) as session:
            yield HubProcess(url, process, session, log)
            await canary.plant(session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await following
        assert not log.leaks

"""A hub that is killed and started again in the same place, with others beside it."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.acceptance.process import ROOT
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.surroundings import surroundings

POLL_SECONDS = 0.01


class Node:
    """`python server.py` on a port of its own. What it logs is in `log`."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.starts: list[float] = []
        self._flags = ("--port", str(self.port), "--rate-limit", "0", *flags)
        self._log = folder / f"hub-{self.port}.log"
        self._process: Process | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def complaints(self) -> list[str]:
        """What it logged that nobody should see, whatever is killed around it, and in it."""
        lines = [line for line in self.log.splitlines() if '"level": "error"' in line]
        return [line for line in lines if "starts again" not in line]

    @property
    def process(self) -> Process:
        assert self._process is not None, "not started"
        return self._process

    async def start(self) -> None:
        """Until it is ready; `starts` gets the seconds that this took."""
        began = monotonic()
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(ROOT / "server.py"), *self._flags),
                stderr=log,
                stdout=DEVNULL,
                env=surroundings(),
            )
        async with asyncio.timeout(PATIENCE), ClientSession(self.url) as session:
            while await ready(session) != 200:
                assert self.process.returncode is None, self.log
                await asyncio.sleep(POLL_SECONDS)
        self.starts.append(monotonic() - began)

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


async def ready(session: ClientSession) -> int:
    """What /readyz says; 0 when nobody answers."""
    try:
        async with session.get("/readyz", timeout=ClientTimeout(total=5)) as response:
            return response.status
    except (ClientError, OSError, TimeoutError):
        return 0


@asynccontextmanager
async def nodes(folder: Path, count: int, *flags: str) -> AsyncIterator[list[Node]]:
    """So many hubs with these flags; killed at the end where they still run."""
    started = [Node(folder, *flags) for _ in range(count)]
    try:
        await asyncio.gather(*(node.start() for node in started))
        yield started
        assert [line for node in started for line in node.complaints] == []
    finally:
        for node in started:
            if node._process is not None and node.process.returncode is None:
                await node.kill()

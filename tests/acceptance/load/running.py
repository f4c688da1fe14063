"""Load processes, from the test's side."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.acceptance.load.checker import Findings
from tests.acceptance.load.records import Growing, Record
from tests.acceptance.process import ROOT

PATIENCE = 120.0
LOOK_SECONDS = 0.005


class Load:
    """The processes, and what they have written so far."""

    def __init__(self, folder: Path, urls: Sequence[str]) -> None:
        self.records: list[Record] = []
        self.accepted = 0
        self.read: set[str] = set()
        self.unread: set[str] = set()
        self._folder = folder
        self._hubs = [part for url in urls for part in ("--hub", url)]
        self._files: list[Growing] = []
        self._running: list[tuple[str, Process]] = []

    async def start(self, role: str, count: int, *flags: str, first: int = 0) -> None:
        """So many senders (`send`) or readers (`rest`, `auto`, `manual`) in a process of theirs."""
        path = self._folder / f"{len(self._files)}-{role}.jsonl"
        self._files.append(Growing(path))
        options = ("--records", str(path), "--first", str(first), "--count", str(count))
        command = (sys.executable, "-m", "tests.acceptance.load", role, *self._hubs, *options)
        process = await asyncio.create_subprocess_exec(*command, *flags, cwd=ROOT, stderr=PIPE)
        self._running.append((role, process))

    def has_accepted(self, messages: int) -> bool:
        return self.accepted >= messages

    def has_read_all(self) -> bool:
        return not self.unread

    def has_opened(self, sockets: int) -> bool:
        return [record["kind"] for record in self.records].count("opened") >= sockets

    async def until(self, enough: Callable[[], bool]) -> None:
        """Look at what they write until it is enough; with patience."""
        async with asyncio.timeout(PATIENCE):
            self._look()
            while not enough():
                for role, process in self._running:
                    assert process.returncode is None, f"{role} ended: {await _said(process)}"
                await asyncio.sleep(LOOK_SECONDS)
                self._look()

    def _look(self) -> None:
        for file in self._files:
            for record in file.news():
                self.records.append(record)
                if record["kind"] == "accepted":
                    self.accepted += 1
                    self.unread.add(record["id"])
                elif record["kind"] == "read":
                    self.read.add(record["id"])
        self.unread -= self.read

    async def stop(self, *roles: str) -> None:
        """Let them end in order: senders what they have begun, readers by REST what is left."""
        ending = [process for role, process in self._running if role in roles]
        self._running = [one for one in self._running if one[0] not in roles]
        for process in ending:
            process.send_signal(signal.SIGTERM)
        for process in ending:
            async with asyncio.timeout(PATIENCE):
                _, said = await process.communicate()
            assert process.returncode == 0, said.decode()

    def findings(self) -> Findings:
        self._look()
        return Findings(self.records)

    async def kill(self) -> None:
        for _, process in self._running:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def _said(process: Process) -> str:
    _, said = await process.communicate()
    return said.decode()


@asynccontextmanager
async def loading(folder: Path, *urls: str) -> AsyncIterator[Load]:
    """Load on the hubs at these addresses; what still runs at the end is killed."""
    load = Load(folder, urls)
    try:
        yield load
    finally:
        await load.kill()

"""`agent-hub` in processes of its own, as a shell or a script starts it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import IO, Any, NamedTuple

from tests.acceptance.process import ROOT
from tests.patience import PATIENCE
from tests.server import RunningHub
from tests.surroundings import surroundings
from tests.web.waiting import until


class Ended(NamedTuple):
    """How a program ended, and what it wrote."""

    code: int | None
    out: str
    err: str


class Shell:
    """Runs commands for the hub at `url`."""

    def __init__(self, url: str, variables: Mapping[str, str] | None = None) -> None:
        named = {"AGENT_HUB_URL": url, "PYTHONPATH": str(ROOT)}
        self.variables = surroundings(**{**named, **(variables or {})})

    async def run(self, *arguments: str, stdin: bytes = b"", **streams: Any) -> Ended:
        """Until it ends. Its standard output can be put elsewhere by `stdout`."""
        async with self.running(*arguments, **streams) as process:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate(stdin)
            return Ended(process.returncode, (out or b"").decode(), err.decode())

    @asynccontextmanager
    async def running(
        self, *arguments: str, stdout: int | IO[Any] = PIPE
    ) -> AsyncIterator[Process]:
        """While it runs; killed at the end if it still does."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent_hub", *arguments),
            stdin=PIPE,
            stdout=stdout,
            stderr=PIPE,
            env=self.variables,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def line(stream: asyncio.StreamReader | None) -> str:
    """The next line that a program writes."""
    assert stream is not None
    async with asyncio.timeout(PATIENCE):
        return (await stream.readline()).decode()


async def end(process: Process) -> Ended:
    """How a program ends by itself, with what nobody has read of it yet."""
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return Ended(process.returncode, (out or b"").decode(), err.decode())


async def asked(hub: RunningHub) -> None:
    """Until a program has come up, and its question waits at the hub."""
    await until(lambda: hub.hub.open_waits == 1, patience=PATIENCE)

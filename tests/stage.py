"""Commands that end when a test tells them to, and with what it tells them to say."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

ACTOR = Path(__file__).with_name("actor.py")


class Run:
    """One run of the command: what it was given, and its end."""

    def __init__(self, told: dict[str, Any], reader: StreamReader, writer: StreamWriter) -> None:
        self.name: list[str] = told["name"]
        self.given: str = told["given"]
        self.variables: dict[str, str] = told["variables"]
        self._reader = reader
        self._writer = writer

    def end(self, said: str = "", code: int = 0) -> None:
        """Let it write this to its standard output, and exit."""
        self._writer.write(f"{json.dumps([said, code])}\n".encode())

    async def line(self) -> str:
        """What it says next, or nothing once it has ended, however that was."""
        async with asyncio.timeout(PATIENCE):
            try:
                return (await self._reader.readline()).decode()
            except ConnectionResetError:
                return ""


class Stage:
    """Where the runs of a command come in, in the order of their starts."""

    def __init__(self) -> None:
        self.port = 0
        self.entered: list[Run] = []
        self._runs: asyncio.Queue[Run] = asyncio.Queue()
        self._writers: list[StreamWriter] = []

    def command(self, *name: str) -> tuple[str, ...]:
        return (sys.executable, "-S", str(ACTOR), str(self.port), *name)

    async def run(self) -> Run:
        """The next, as soon as it has been started and has read what it was given."""
        async with asyncio.timeout(PATIENCE):
            return await self._runs.get()

    async def enter(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._writers.append(writer)
        if told := await reader.readline():
            run = Run(json.loads(told), reader, writer)
            self.entered.append(run)
            self._runs.put_nowait(run)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    stage = Stage()
    server = await asyncio.start_server(stage.enter, "127.0.0.1", 0, limit=2**22)
    stage.port = server.sockets[0].getsockname()[1]
    async with server:
        yield stage
        stage.close()

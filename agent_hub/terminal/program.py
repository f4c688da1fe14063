"""A command that is run for messages: what it is given, what it writes, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, NamedTuple, Self

PIECE_BYTES = 65_536


class Ended(NamedTuple):
    """How a run ended: `code` as a shell's, but negative for a signal; `out` is what it wrote."""

    code: int
    out: bytes


class Program:
    """One command line, run as often as is asked for, also at the same time.

    Each run is a session, and so a process group, of its own. When the command has ended, or is
    no longer waited for, the rest of its group is killed.
    """

    def __init__(self, command: Sequence[str], limit: int) -> None:
        """Of `limit` bytes of output and one more the command is killed."""
        self._command = command
        self._limit = limit
        self._groups: set[int] = set()
        self._told: int | None = None

    def tell(self, number: int) -> None:
        """Send this signal to all that runs, and to what is just being started."""
        self._told = number
        for group in self._groups:
            _signal(group, number)

    async def run(self, given: bytes, variables: Mapping[str, str], *, captured: bool) -> Ended:
        """Run it with this on its standard input. Raises OSError when it cannot be started.

        What is not `captured` of its output goes to this program's own.
        """
        # A file, not a pipe: nobody has to wait until the command reads, which it may never do.
        with TemporaryFile() as stdin, _Output(self._limit) as output:
            stdin.write(given)
            stdin.seek(0)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=stdin,
                stdout=output.sink if captured else None,
                env=variables,
                start_new_session=True,
            )
            await self._end_of(process, output)
            assert process.returncode is not None
            return Ended(process.returncode, output.rest())

    async def _end_of(self, process: asyncio.subprocess.Process, output: _Output) -> None:
        exited = asyncio.ensure_future(process.wait())
        self._groups.add(process.pid)
        if self._told is not None:
            _signal(process.pid, self._told)
        try:
            first: set[asyncio.Future[Any]] = {exited, output.full}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._groups.discard(process.pid)
            _signal(process.pid, signal.SIGKILL)
            await exited


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all gone; or another user's by now
        os.killpg(group, number)


class _Output:
    """What is written into a pipe, read as it comes, up to a limit.

    Its end is not waited for: what a command started may hold the pipe open for ever.
    """

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._taken = bytearray()
        self.full: asyncio.Future[None] = self._loop.create_future()
        self._source, self.sink = os.pipe()
        os.set_blocking(self._source, False)
        self._loop.add_reader(self._source, self._take)

    def rest(self) -> bytes:
        """All that has been written, or more than the limit."""
        while self._take():
            pass
        return bytes(self._taken)

    def _take(self) -> bool:
        """Whether there was something, and more is wanted."""
        if self.full.done():
            return False
        try:
            piece = os.read(self._source, PIECE_BYTES)
        except BlockingIOError:
            return False
        self._taken += piece
        if len(self._taken) > self._limit:
            self.full.set_result(None)
        if not piece or self.full.done():
            self._loop.remove_reader(self._source)
        return bool(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.remove_reader(self._source)
        os.close(self._source)
        os.close(self.sink)

"""Standard output, of which it is known what was written."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread


def write(line: str) -> None:
    """Write a line; when this returns the system has all of it. Raises OSError."""
    rest = f"{line}\n".encode(sys.stdout.encoding, "backslashreplace")
    while rest:
        rest = rest[os.write(sys.stdout.fileno(), rest) :]


async def written(line: str) -> None:
    """`write`, while the event loop goes on: a slow reader must not keep it from the hub.

    The thread is one that nobody waits for at the end, as its reader may never read on. It holds
    no lock of `sys.stdout` either.
    """
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()  # from here on it cannot be cancelled
    Thread(target=_report, args=(line, done), daemon=True).start()
    await asyncio.wrap_future(done)


def _report(line: str, done: Future[None]) -> None:
    try:
        write(line)
    except OSError as error:
        done.set_exception(error)
    else:
        done.set_result(None)


class Reader:
    """Whoever reads the pipe that is written to, if it is one; as soon as nobody does it is `gone`.

    This task is cancelled then, but never while it writes: whether that went well is to be known.
    """

    def __init__(self) -> None:
        self.gone = False
        self._is_written_to = False
        self._loop, self._end = asyncio.get_running_loop(), sys.stdout.fileno()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        with suppress(ImportError, NotImplementedError):  # Windows
            import fcntl

            writes_only = fcntl.fcntl(self._end, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
            if writes_only and stat.S_ISFIFO(os.fstat(self._end).st_mode):
                # An end that only writes is readable when it is broken.
                self._loop.add_reader(self._end, self._go)

    async def give(self, line: str) -> None:
        """`written`, to its end: a pipe that breaks does not keep it waiting."""
        self._is_written_to = True
        try:
            await written(line)
        finally:
            self._is_written_to = False

    def _go(self) -> None:
        self._loop.remove_reader(self._end)
        self.gone = True
        if not self._is_written_to:
            self._task.cancel()

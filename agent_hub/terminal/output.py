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


def cancel_without_reader() -> None:
    """Cancel this task as soon as nobody reads the pipe that is written to, if it is one."""
    loop, task, ends = asyncio.get_running_loop(), asyncio.current_task(), sys.stdout.fileno()
    assert task is not None

    def gone() -> None:
        loop.remove_reader(ends)
        task.cancel()

    with suppress(ImportError, NotImplementedError):  # Windows
        import fcntl

        writes_only = fcntl.fcntl(ends, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        if writes_only and stat.S_ISFIFO(os.fstat(ends).st_mode):
            loop.add_reader(ends, gone)  # an end that only writes is readable when it is broken

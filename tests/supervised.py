"""Two workers behind a supervisor, as a program: `python -m tests.supervised PORT [FAULT]`.

They do what a hub does with its supervisor, and nothing else, so that they start in no time.
With a FAULT of `start` the second cannot start; with `late` it once cannot, while the first serves.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent_hub import logs
from agent_hub.workers import Supervisor, Worker

log = logging.getLogger("agent_hub.tests")


def work(flags: dict[str, Any], worker: Worker) -> int:
    logs.configure("info")
    if worker.number == 1 and flags["fault"] == "start":
        signal.pause()
    if worker.number == 2 and fails(flags["fault"], flags["port"], worker.folder / "failed"):
        return 7
    asyncio.run(serve(flags["port"], worker))
    return 0


def fails(fault: str, port: int, failed: Path) -> bool:
    if fault == "late" and not failed.exists():
        failed.touch()
        await_answer(port)
        return True
    return fault == "start"


def await_answer(port: int) -> None:
    """Return when the other has said that it serves: it closes each connection, but not before."""
    while True:
        with suppress(ConnectionRefusedError):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.recv(1)
            return


async def serve(port: int, worker: Worker) -> None:
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGHUP, log.info, "worker %d was hung up on", worker.number)
    async with await asyncio.start_server(take, "127.0.0.1", port, reuse_port=True):
        worker.serves(orphaned=stopping.set)
        await stopping.wait()
    log.info("worker %d has drained", worker.number)


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


if __name__ == "__main__":
    logs.configure("info")
    arguments = [*sys.argv[1:], ""]
    flags = {"fault": arguments[1]}
    sys.exit(Supervisor(2, "127.0.0.1", int(arguments[0]), work, flags).run())

"""Servers in processes of their own, each on a port that it is told."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.patience import PATIENCE
from tests.surroundings import surroundings

ROOT = Path(__file__).parent.parent


@contextmanager
def spawned(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from when it listens on this port until it was ended in order."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=surroundings(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    """Raise OSError when nobody listens there in time."""
    give_up_at = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)

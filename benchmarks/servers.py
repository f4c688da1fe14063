"""The servers under measurement, each a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

ROOT = Path(__file__).parent.parent
START_SECONDS = 20.0


class Server:
    """A running server: its port, and the processor time that it has used."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = psutil.Process(process.pid)

    @property
    def cpu_seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @property
    def resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _server(*arguments: str) -> Iterator[Server]:
    port = _free_port()
    command = [sys.executable, *arguments, str(port)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AGENT_HUB_")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield Server(process, port)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


@contextmanager
def hub(backend: str = "memory", *flags: str) -> Iterator[Server]:
    """The hub as a user starts it, with the rate limit off; a database is new and goes again."""
    with TemporaryDirectory() as folder:
        where = f"sqlite:///{folder}/agent-hub.db" if backend == "sqlite" else backend
        shared = ("--rate-limit", "0", "--backend", where)
        with _server("server.py", *shared, *flags, "--port") as server:
            yield server


@contextmanager
def bare() -> Iterator[Server]:
    """The bare aiohttp handler."""
    with _server("-m", "benchmarks.bare") as server:
        yield server


@contextmanager
def reference_mcp() -> Iterator[Server]:
    """The SDK's own MCP server under uvicorn."""
    with _server("-m", "benchmarks.reference_mcp") as server:
        yield server

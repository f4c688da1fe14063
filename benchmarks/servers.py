"""The servers under measurement, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

import psutil

from tests.ports import free_port
from tests.redis_server import RedisServer, redis_server
from tests.spawned import spawned


class Server:
    """A running server: its port, and the processor time that it has used."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self.store: psutil.Process | None = None
        self._process = psutil.Process(process.pid)

    @property
    def cpu_seconds(self) -> float:
        return _cpu_seconds(self._process)

    @property
    def store_cpu_seconds(self) -> float:
        """That of the Redis behind it, where that was started for this hub."""
        return 0.0 if self.store is None else _cpu_seconds(self.store)

    @property
    def resident_bytes(self) -> int:
        return int(self._process.memory_info().rss)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def _server(*arguments: str) -> Iterator[Server]:
    port = free_port()
    with spawned((sys.executable, *arguments, str(port)), port) as process:
        yield Server(process, port)


@contextmanager
def redis() -> Iterator[RedisServer]:
    """A new Redis that writes its log to the disk each second, as one would run it."""
    with redis_server(append_only="everysec") as server:
        yield server


@contextmanager
def hub(backend: str = "memory", *flags: str, redis_url: str | None = None) -> Iterator[Server]:
    """The hub as a user starts it, with the rate limit off; a database is new and goes again.

    `redis` is the one at `redis_url`, or a new one of this hub's own.
    """
    with ExitStack() as held:
        where, store = backend, None
        if backend == "sqlite":
            where = f"sqlite:///{held.enter_context(TemporaryDirectory())}/agent-hub.db"
        elif backend == "redis" and redis_url is not None:
            where = redis_url
        elif backend == "redis":
            own = held.enter_context(redis())
            where, store = own.url, psutil.Process(own.process.pid)
        shared = ("--rate-limit", "0", "--backend", where)
        server = held.enter_context(_server("server.py", *shared, *flags, "--port"))
        server.store = store
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

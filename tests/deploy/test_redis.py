"""The Redis of compose.yaml, by its own flags: it keeps what it has, and never forgets for room."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.deploy import files
from tests.redis_server import RedisServer, executable


class ComposeRedis(RedisServer):
    """As the compose file starts it, in a folder of the test."""

    def _command(self) -> list[str]:
        program, *flags = files.compose()["services"]["redis"]["command"]
        assert program == "redis-server"
        here = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder))
        door = ("--unixsocket", str(self._folder / "redis.sock"))
        return [executable(), *here, *door, "--logfile", "redis.log", *flags]


def test_the_redis_of_compose_writes_before_it_answers_and_evicts_nothing(tmp_path: Path) -> None:
    server = ComposeRedis(tmp_path)
    server.start()
    try:
        wanted = {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "maxmemory": str(512 * 1024 * 1024),
            "save": "",
        }
        with closing(server.client()) as client:
            assert {name: client.config_get(name)[name] for name in wanted} == wanted
            client.set("kept", "yes")
        server.kill()
        server.restart()
        with closing(server.client()) as client:
            assert client.get("kept") == "yes"
    finally:
        server.stop()

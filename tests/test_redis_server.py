"""The Redis that tests are run with: it must be what they take it for."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import psutil
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.ports import free_port
from tests.redis_server import RedisServer
from tests.redis_server import redis_server as running


def test_what_an_append_only_redis_has_acknowledged_survives_its_kill() -> None:
    with running(append_only="always") as server:
        with closing(server.client()) as client:
            client.set("kept", "yes")
        port = server.port
        server.kill()
        with closing(server.client()) as client, pytest.raises(redis.ConnectionError):
            client.ping()
        server.restart()
        with closing(server.client()) as client:
            assert (server.port, client.get("kept")) == (port, "yes")


def test_a_plain_redis_keeps_nothing_over_its_kill() -> None:
    with running() as server:
        with closing(server.client()) as client:
            client.set("kept", "no")
        server.kill()
        server.restart()
        with closing(server.client()) as client:
            assert client.get("kept") is None


def test_a_redis_whose_port_another_one_was_quicker_to_take_looks_for_another_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running() as quicker:
        ports = iter([quicker.port, free_port()])
        monkeypatch.setattr("tests.redis_server.free_port", lambda *beside: next(ports))
        with running() as server, closing(server.client()) as client:
            assert client.info("server")["process_id"] == server.process.pid


@pytest.mark.parametrize("user", [None, "hub"])
def test_a_redis_with_a_password_lets_in_only_who_knows_it(user: str | None) -> None:
    with running(user=user, password="p@ss word") as server:
        for url in (server.url, server.socket_url):
            with closing(redis.Redis.from_url(url)) as client:
                assert client.ping()
        with (
            closing(redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0))) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_a_cluster_of_one_node_refuses_a_command_over_two_slots(redis_cluster: RedisServer) -> None:
    with closing(redis_cluster.client()) as client:
        assert client.mset({"{a}1": 1, "{a}2": 2})
        with pytest.raises(redis.ResponseError, match="same slot"):
            client.mset({"a": 1, "b": 2})


@pytest.mark.slow
def test_a_cluster_comes_back_after_its_kill() -> None:
    with running(cluster=True, append_only="always") as server:
        server.kill()
        server.restart()
        with closing(server.client()) as client:
            assert client.set("a", 1)


def test_a_flushed_redis_is_empty(redis_server: RedisServer) -> None:
    with closing(redis_server.client()) as client:
        client.set("a", 1)
        redis_server.flush()
        assert client.dbsize() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not offer this")
def test_a_test_run_that_is_killed_leaves_no_redis_behind() -> None:
    program = (
        "import time; from tests.redis_server import redis_server\n"
        "with redis_server() as server: print(server.process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        redis_process = psutil.Process(int(run.stdout.readline()))
        run.kill()
        _, left = psutil.wait_procs([redis_process], timeout=10)
        assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []

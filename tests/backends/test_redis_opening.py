"""What the hub finds out about a Redis at the start, and what it says of it."""

from __future__ import annotations

import logging
from contextlib import closing

import pytest

from agent_hub.auth.redis_store import RedisStore
from agent_hub.auth.store import Kind
from agent_hub.core.agent import Agent
from agent_hub.core.errors import BackendUnavailable
from agent_hub.queue_backends.redis.backend import RedisBackend
from agent_hub.queue_backends.redis.opening import check_version
from agent_hub.redis_way import is_cluster
from tests.backends.mail import send, take, texts
from tests.backends.redis_stores import server as running
from tests.backends.test_redis_away import Woken
from tests.backends.test_redis_cluster import await_named
from tests.redis_server import RedisServer, redis_server

SECRET = "s3cr:t/@"


def tell(server: RedisServer, *words: str) -> None:
    with closing(server.client()) as client:
        client.execute_command(*words)  # type: ignore[no-untyped-call]


async def opened(url: str) -> str:
    """The durability that is found there."""
    backend = RedisBackend(url)
    await backend.open()
    await backend.close()
    return backend.durability


async def test_how_durable_redis_is_configured_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server() as server:
        assert await opened(server.url) == "redis-none"
        assert "keeps nothing on disk" in caplog.text
        tell(server, "CONFIG", "SET", "save", "60 1")
        assert await opened(server.url) == "redis-rdb"
        assert "loses what came after its last snapshot" in caplog.text
        tell(server, "CONFIG", "SET", "appendonly", "yes")
        caplog.clear()
        assert await opened(server.url) == "redis-aof"
        assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
        tell(server, "CONFIG", "SET", "appendfsync", "no")
        assert await opened(server.url) == "redis-aof"
        assert "appendfsync is no" in caplog.text


def test_a_valkey_says_otherwise_than_a_redis_that_it_is_a_cluster() -> None:
    valkey = {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.1"}
    assert is_cluster(valkey | {"server_mode": "cluster"})
    assert is_cluster({"redis_version": "6.2.14", "redis_mode": "cluster"})
    assert not is_cluster(valkey | {"server_mode": "standalone"})
    assert not is_cluster({"redis_version": "7.2.4", "redis_mode": "standalone"})


async def test_eviction_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(append_only="everysec") as server:
        tell(server, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await opened(server.url)
    assert "maxmemory-policy is allkeys-lru" in caplog.text


async def test_credentials_come_from_the_url_and_go_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with redis_server(user="hub", password=SECRET) as server:
        for url in (server.url, server.socket_url):
            backend = RedisBackend(url)
            await backend.open()
            await send(backend, "a")
            assert texts(await take(backend)) == ["a"]
            await backend.close()
            assert SECRET not in repr(backend)
        wrong = server.url.replace("hub:", "hub:wr0ng")
        with pytest.raises(BackendUnavailable, match="does not take this user") as refused:
            await opened(wrong)
    assert "wr0ng" not in str(refused.value) + caplog.text
    assert SECRET not in caplog.text


async def test_settings_that_nobody_may_ask_are_not_needed() -> None:
    with redis_server(append_only="always", user="hub", password=SECRET) as server:
        tell(server, "ACL", "SETUSER", "hub", "-config")
        assert await opened(server.url) == "redis-aof"


async def test_a_user_without_the_rights_that_the_hub_needs_is_told_so() -> None:
    with redis_server(user="hub", password=SECRET) as server:
        backend = RedisBackend(server.url)
        await backend.open()
        tell(server, "ACL", "SETUSER", "hub", "-zadd")
        with pytest.raises(BackendUnavailable, match="may not do what the hub needs"):
            await send(backend, "a")
        tell(server, "ACL", "SETUSER", "hub", "+zadd")
        await backend.close()


@pytest.mark.parametrize("word", ["PUBLISH", "SUBSCRIBE"])
async def test_a_user_who_may_not_give_or_hear_hints_is_refused_at_the_start(word: str) -> None:
    with redis_server(user="hub", password=SECRET) as server:
        tell(server, "ACL", "SETUSER", "hub", f"-{word}")
        with pytest.raises(BackendUnavailable, match=f"may not {word} to agenthub:") as refused:
            await opened(server.url)
        tell(server, "ACL", "SETUSER", "hub", f"+{word}", "resetchannels", "&other:*")
        with pytest.raises(BackendUnavailable, match=r"\(&agenthub:\*\)"):
            await opened(server.url)
    assert len(refused.value.detail.splitlines()) == 1


@pytest.mark.parametrize("url", ["redis://hub:1/w0rd@there:6379/0", "redis://hub:pa/w0rd@there"])
async def test_a_password_that_breaks_its_url_is_shown_nowhere(url: str) -> None:
    backend = RedisBackend(url)
    with pytest.raises(BackendUnavailable, match="write a / ") as refused:
        await backend.open()
    for said in (repr(backend), refused.value.detail, str(refused.value.__context__)):
        assert "w0rd" not in said
        assert "hub:" not in said


async def test_a_redis_that_is_not_there_is_one_line_with_its_place() -> None:
    with redis_server() as server:
        url = server.url
    with pytest.raises(BackendUnavailable) as refused:
        await opened(url.replace("redis://", "redis://hub:" + "secret@"))
    [line] = refused.value.detail.splitlines()
    assert line.startswith(f"Redis at 127.0.0.1:{server.port}: no connection; is it running")
    assert "secret" not in line


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16"])
def test_a_redis_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(BackendUnavailable, match=f"is version {version}; the hub needs 6.2"):
        check_version({"redis_version": version}, "there:6379")


@pytest.mark.parametrize("version", ["6.2.0", "7.0.1", "10.1"])
def test_a_newer_redis_is_taken(version: str) -> None:
    check_version({"redis_version": version}, "there:6379")


@pytest.mark.parametrize("cluster", [False, True])
async def test_how_redis_answers_is_not_for_the_url_to_say(cluster: bool) -> None:
    url = f"{running(cluster=cluster).url}?protocol=3&decode_responses=yes"
    backend = RedisBackend(url, prefix="in-protocol-3")
    await backend.open()
    woken = Woken()
    backend.watch("alpha", woken)
    await woken.wait()  # it may have missed a hint until it began to listen
    await send(backend, "a")
    await woken.wait()
    assert texts(await take(backend)) == ["a"]
    await backend.put_agent(Agent(agent_id="alpha"))
    assert [agent.agent_id for agent in await backend.agents()] == ["alpha"]
    await backend.remove_agent("alpha")
    assert (await backend.totals()).leased == 1
    await backend.close()
    store = RedisStore(url, lambda: 0.0, prefix="in-protocol-3")
    await store.open()
    await store.put(Kind.TOKEN, "k", b"v")
    assert [entry.value for entry in await store.entries(Kind.TOKEN)] == [b"v"]
    await store.close()


async def test_a_cluster_whose_nodes_name_an_address_that_does_not_answer_says_which(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with redis_server(cluster=True) as server:
        tell(server, "CONFIG", "SET", "cluster-announce-ip", "127.0.0.2")
        await_named(server, "127.0.0.2", server.port)
        backend = RedisBackend(server.url)
        with pytest.raises(BackendUnavailable, match="the Redis cluster is down"):
            await backend.open()
        await backend.close()
    said = f"names a node at 127.0.0.2:{server.port}, which does not answer"
    assert caplog.text.count(said) == 1


async def test_a_cluster_behind_a_socket_is_refused_in_one_line() -> None:
    url = running(cluster=True).socket_url
    backend, store = RedisBackend(url), RedisStore(url, lambda: 0.0)
    for opening in (backend.open(), store.open()):
        with pytest.raises(BackendUnavailable, match="is a cluster, and its other") as refused:
            await opening
        assert len(refused.value.detail.splitlines()) == 1
    await backend.close()
    await store.close()

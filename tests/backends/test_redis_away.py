"""Redis stops, hangs, forgets its scripts, is full: the hub stays up and loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import pytest

from agent_hub.core.agent import Agent
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.mail import Receipt
from agent_hub.queue_backends.redis.backend import RedisBackend
from agent_hub.redis_way.pipeline import TICKS, Patience
from tests.backends.mail import letter, send, take, texts
from tests.patience import PATIENCE
from tests.redis_server import RedisServer, redis_server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server(append_only="always") as running:
        yield running


@pytest.fixture
async def backend(server: RedisServer) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(server.url)
    await backend.open()
    yield backend
    await backend.close()


class Woken:
    """A reader that waits to be woken."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self._event.wait()
        self._event.clear()


async def sent_again(backend: RedisBackend, submission: object) -> Receipt:
    """As a client does that is told to come again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await backend.send(submission)  # type: ignore[arg-type]
            except BackendUnavailable:
                await asyncio.sleep(0.01)


def command(server: RedisServer, *words: str) -> object:
    with closing(server.client()) as client:
        answer: object = client.execute_command(*words)  # type: ignore[no-untyped-call]
        return answer


async def test_what_was_accepted_is_there_after_a_kill_of_redis_and_every_reader_is_woken(
    server: RedisServer, backend: RedisBackend
) -> None:
    await send(backend, "before")
    woken = Woken()
    backend.watch("alpha", woken)
    await woken.wait()  # it may have missed a hint until it began to listen
    server.kill()
    with pytest.raises(BackendUnavailable, match=r"Redis at 127\.0\.0\.1:\d+: no connection"):
        await backend.send(letter("meanwhile"))
    with pytest.raises(BackendUnavailable) as refused:
        await backend.ping()
    assert refused.value.retry_after is not None
    server.restart()
    await woken.wait()
    await sent_again(backend, letter("after"))
    assert texts(await take(backend)) == ["before", "after"]


async def test_a_redis_that_hangs_is_away_until_it_goes_on(
    server: RedisServer, backend: RedisBackend
) -> None:
    submission = letter("a")
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BackendUnavailable, match="does not answer in time"):
            await backend.send(submission)
        with pytest.raises(BackendUnavailable):
            await backend.send(letter("refused at once"))
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    receipt = await sent_again(backend, submission)
    assert receipt.message_id == submission.message_id
    assert texts(await take(backend)) == ["a"]


async def test_all_that_waits_is_refused_together(
    server: RedisServer, backend: RedisBackend
) -> None:
    server.kill()
    outcomes = await asyncio.gather(
        *(backend.send(letter("x")) for _ in range(2_000)), return_exceptions=True
    )
    assert {type(outcome) for outcome in outcomes} == {BackendUnavailable}
    server.restart()


async def test_who_is_refused_while_redis_is_away_leaves_nothing_to_the_next(
    server: RedisServer, backend: RedisBackend
) -> None:
    server.kill()
    depths = []
    for _ in range(4):
        with pytest.raises(BackendUnavailable) as refused:
            await backend.send(letter("x"))
        depths.append(len(refused.traceback))
    assert depths == depths[:1] * 4
    server.restart()


async def test_a_listener_that_is_cut_off_listens_again_and_wakes(
    server: RedisServer, backend: RedisBackend
) -> None:
    woken = Woken()
    backend.watch("alpha", woken)
    await woken.wait()
    for number in range(5):
        command(server, "CLIENT", "KILL", "TYPE", "pubsub")
        await send(backend, f"{number}")
        await woken.wait()
        async with asyncio.timeout(PATIENCE):
            while not (taken := await take(backend)):
                await woken.wait()
        assert texts(taken) == [f"{number}"]


async def test_a_listener_that_may_not_listen_any_more_says_so_once(
    server: RedisServer, backend: RedisBackend, caplog: pytest.LogCaptureFixture
) -> None:
    woken = Woken()
    backend.watch("alpha", woken)
    await woken.wait()
    said = "the listener is refused: the Redis user may not do"
    for times in (1, 2):
        command(server, "ACL", "LOG", "RESET")
        command(server, "ACL", "SETUSER", "default", "-subscribe")
        command(server, "CLIENT", "KILL", "TYPE", "pubsub")
        async with asyncio.timeout(PATIENCE):
            while await refusals(backend) < 3:
                pass
        assert caplog.text.count(said) == times
        command(server, "ACL", "SETUSER", "default", "+subscribe")
        await woken.wait()


async def refusals(backend: RedisBackend) -> int:
    """How often a user was refused what he may not do."""
    (entries,) = await backend._store.ask((("ACL", "LOG"),))
    return sum(int(entry[1]) for entry in entries)


async def test_a_cut_connection_costs_no_send(server: RedisServer, backend: RedisBackend) -> None:
    for number in range(5):
        command(server, "CLIENT", "KILL", "TYPE", "normal")
        await send(backend, f"{number}")
    assert texts(await take(backend)) == ["0", "1", "2", "3", "4"]


async def test_scripts_that_redis_forgot_are_given_again(
    server: RedisServer, backend: RedisBackend
) -> None:
    await send(backend, "a")
    command(server, "SCRIPT", "FLUSH")
    await asyncio.gather(*(backend.send(letter("x", to=f"id-{n}")) for n in range(50)))
    assert (await backend.totals()).ready == 51


async def test_a_full_redis_refuses_and_lets_go(server: RedisServer, backend: RedisBackend) -> None:
    [receipt] = await send(backend, "a")
    command(server, "CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BackendUnavailable, match="no memory left"):
        await backend.send(letter("b"))
    assert len(await backend.ack("alpha", [receipt.message_id])) == 1
    command(server, "CONFIG", "SET", "maxmemory", "0")
    await send(backend, "c")
    sums = await backend.totals()
    assert (sums.accepted, sums.acked, sums.ready) == (2, 1, 1)


async def test_a_full_redis_lets_read_settle_and_expire_but_is_not_ready(
    server: RedisServer, backend: RedisBackend
) -> None:
    receipts = await send(backend, "a", "b", "c")
    await send(backend, "over", to="gamma", ttl=0.001)
    await backend.put_agent(Agent(agent_id="alpha"))
    command(server, "CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BackendUnavailable, match="no memory left"):
        await backend.ping()
    assert (await backend.look("alpha", None, 5)).total == 3
    leased = await take(backend, lease_id="l", limit=2)
    assert texts(leased) == texts(await take(backend, lease_id="l")) == ["a", "b"]
    assert len(await backend.standings("beta", receipts[0].message_id)) == 1
    await backend.occupy("alpha", "stream", lambda: None)
    assert await backend.renew("alpha", "stream")
    await backend.vacate("alpha", "stream")
    assert await backend.touch_agent("alpha") is not None
    assert await backend.release("alpha", "l", [receipts[1].message_id], failure=False) == 1
    assert len(await backend.ack("alpha", [one.message_id for one in receipts])) == 3
    assert (await backend.look("gamma", None, 5)).total == 0
    await backend.sweep()
    assert (await backend.totals()).expired == 1
    command(server, "CONFIG", "SET", "maxmemory", "0")
    await backend.ping()


async def test_a_redis_that_takes_no_writes_is_not_ready_and_not_back(
    server: RedisServer, backend: RedisBackend
) -> None:
    pipeline = backend._store._pipeline
    assert pipeline is not None
    for refuse, allow in (
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
        ),
    ):
        command(server, *refuse)
        with pytest.raises(BackendUnavailable, match="replica"):
            await backend.ping()
        assert not await pipeline._is_back()
        command(server, *allow)
        await backend.ping()
        assert await pipeline._is_back()


async def test_patience_lasts_as_long_as_answers_come() -> None:
    patience = Patience(PATIENCE)

    async def answers_then_none() -> None:
        async with patience:
            for _ in range(3):
                for _ in range(TICKS - 1):
                    patience._tick()
                patience.renew()
                await asyncio.sleep(0)
            for _ in range(TICKS):
                patience._tick()
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await answers_then_none()


async def test_a_primary_that_became_a_replica_is_told_as_what_it_is(
    server: RedisServer, backend: RedisBackend
) -> None:
    await send(backend, "a")
    command(server, "REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(BackendUnavailable, match="replica"):
        await backend.send(letter("b"))
    command(server, "REPLICAOF", "NO", "ONE")
    await sent_again(backend, letter("c"))
    assert texts(await take(backend)) == ["a", "c"]


async def test_a_cancelled_send_is_done_all_the_same_and_costs_no_connection(
    backend: RedisBackend,
) -> None:
    await send(backend, "first")
    before = await connections(backend)
    sending = [
        asyncio.ensure_future(backend.send(letter("x", to=to, key=key)))
        for to in ("alpha", "nobody-yet")
        for key in (None, "k")
    ]
    await asyncio.sleep(0)
    for one in sending:
        one.cancel()
    await asyncio.gather(*sending, return_exceptions=True)
    assert all(one.cancelled() for one in sending)
    assert len(await take(backend)) == 3
    assert await connections(backend) == before


async def connections(backend: RedisBackend) -> int:
    (info,) = await backend._store.ask((("INFO", "stats"),))
    lines = dict(line.split(":") for line in info.decode().split() if ":" in line)
    return int(lines["total_connections_received"])

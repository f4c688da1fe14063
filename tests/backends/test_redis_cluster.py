"""A cluster of three: slots that move, a node that goes, while messages flow."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from redis.crc import key_slot

from agent_hub.auth.redis_store import RedisStore
from agent_hub.auth.store import Kind
from agent_hub.core.agent import Agent
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.hub import Hub
from agent_hub.core.message import Delivery
from agent_hub.queue_backends.redis import sweeper
from agent_hub.queue_backends.redis.backend import RedisBackend
from agent_hub.redis_way.cluster import ClusterLink
from tests.backends.mail import letter, send, take, texts
from tests.backends.test_redis_away import Woken, sent_again
from tests.clock import ManualClock
from tests.patience import PATIENCE
from tests.redis_server import SLOTS, RedisServer, redis_server

NODES = 3
ROUND = 61.0
EVERYBODY = [f"id-{number}" for number in range(60)]


def command(server: RedisServer, *words: object) -> object:
    with closing(server.client()) as client:
        answer: object = client.execute_command(*words)  # type: ignore[no-untyped-call]
        return answer


def await_named(server: RedisServer, host: str, port: int) -> None:
    """Until a node tells of one there: it hears of the others, and of itself, by and by."""
    give_up_at = time.monotonic() + PATIENCE
    while [host, port] not in [node[:2] for row in slots_of(server) for node in row[2:]]:
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def slots_of(server: RedisServer) -> list[list[Any]]:
    slots = command(server, "CLUSTER", "SLOTS")
    assert isinstance(slots, list)
    return slots


def has(number: int, agent_id: str) -> bool:
    """Whether that node has the slot of an agent at the beginning."""
    return key_slot(agent_id.encode()) in part(number)


def part(number: int) -> range:
    return range(SLOTS * number // NODES, SLOTS * (number + 1) // NODES)


@pytest.fixture(scope="module")
def whole() -> Iterator[list[RedisServer]]:
    """Three nodes that know each other, and go on without one of them."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(redis_server(cluster=True, slots=part(number)))
            for number in range(NODES)
        ]
        for epoch, node in enumerate(nodes, 1):
            command(node, "CONFIG", "SET", "cluster-require-full-coverage", "no")
            command(node, "CLUSTER", "SET-CONFIG-EPOCH", epoch)
            command(node, "CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            node.await_cluster(slots=SLOTS)
        yield nodes


@pytest.fixture
async def hub(whole: list[RedisServer]) -> AsyncIterator[RedisBackend]:
    for node in whole:
        node.flush()
    backend = RedisBackend(whole[0].url)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
async def store(whole: list[RedisServer]) -> AsyncIterator[RedisStore]:
    """That of credentials, by the URL of a node that has none of them."""
    for node in whole:
        node.flush()
    elsewhere = next(node for number, node in enumerate(whole) if not has(number, "credentials"))
    store = RedisStore(elsewhere.url, time.time)
    await store.open()
    yield store
    await store.close()


class Move:
    """A slot on its way from one node to another: begun, and then done."""

    def __init__(self, nodes: list[RedisServer], name: str) -> None:
        self._slot = key_slot(name.encode())
        self._nodes = nodes
        self._from = next(node for number, node in enumerate(nodes) if has(number, name))
        self._to = nodes[(nodes.index(self._from) + 1) % NODES]

    def begin(self) -> None:
        at, to = (command(node, "CLUSTER", "MYID") for node in (self._from, self._to))
        command(self._to, "CLUSTER", "SETSLOT", self._slot, "IMPORTING", at)
        command(self._from, "CLUSTER", "SETSLOT", self._slot, "MIGRATING", to)

    def carry(self, *keys: str) -> None:
        way = ("MIGRATE", "127.0.0.1", self._to.port, "", 0, 5_000, "KEYS")
        command(self._from, *way, *(keys or self._left()))

    def _left(self) -> list[str]:
        keys = command(self._from, "CLUSTER", "GETKEYSINSLOT", self._slot, 1_000)
        assert isinstance(keys, list)
        return keys

    def end(self) -> None:
        owner = command(self._to, "CLUSTER", "MYID")
        for node in (self._to, self._from):
            command(node, "CLUSTER", "SETSLOT", self._slot, "NODE", owner)

    def back(self) -> None:
        """As it was before, for the next test."""
        self._from, self._to = self._to, self._from
        self.begin()
        if self._left():
            self.carry()
        self.end()


async def test_messages_are_kept_on_all_nodes_and_wake_readers(
    hub: RedisBackend, whole: list[RedisServer]
) -> None:
    woken = {name: Woken() for name in EVERYBODY}
    for name in EVERYBODY:
        hub.watch(name, woken[name])
        await woken[name].wait()
    await asyncio.gather(*(hub.send(letter(name, to=name)) for name in EVERYBODY))
    for name in EVERYBODY:
        await woken[name].wait()
        assert texts(await take(hub, name)) == [name]
    assert (await hub.totals()).accepted == len(EVERYBODY)
    for node in whole:
        assert command(node, "DBSIZE")


async def test_an_inbox_that_moves_is_refused_meanwhile_and_no_other(
    hub: RedisBackend, whole: list[RedisServer]
) -> None:
    await asyncio.gather(*(hub.send(letter("before", to=name)) for name in EVERYBODY))
    move = Move(whole, EVERYBODY[0])
    move.begin()
    move.carry(f"agenthub:{{{EVERYBODY[0]}}}:box")
    outcomes = await asyncio.gather(
        *(hub.send(letter("meanwhile", to=name)) for name in EVERYBODY), return_exceptions=True
    )
    assert isinstance(outcomes[0], BackendUnavailable)
    assert outcomes[0].detail == "the Redis cluster moves these keys"
    assert not [one for one in outcomes[1:] if isinstance(one, BaseException)]
    move.carry()
    move.end()
    await sent_again(hub, letter("after", to=EVERYBODY[0]))
    assert texts(await take(hub, EVERYBODY[0])) == ["before", "after"]
    assert texts(await take(hub, EVERYBODY[1])) == ["before", "meanwhile"]
    await hub.ack(EVERYBODY[0], [])
    move.back()


async def test_what_others_asked_beside_an_inbox_that_moves_is_done_and_answered_once(
    hub: RedisBackend, whole: list[RedisServer]
) -> None:
    moving, other = EVERYBODY[:2]
    await hub.send(letter("before", to=moving))
    sent = await hub.send(letter("before", to=other))
    await hub.put_agent(Agent(agent_id="leaves"))
    move = Move(whole, moving)
    move.begin()
    move.carry(f"agenthub:{{{moving}}}:box")
    refused, acked, removed, is_new = await asyncio.gather(
        hub.send(letter("meanwhile", to=moving)),
        hub.ack(other, [sent.message_id]),
        hub.remove_agent("leaves"),
        hub.put_agent(Agent(agent_id="comes")),
        return_exceptions=True,
    )
    move.carry()
    move.end()
    move.back()
    assert isinstance(refused, BackendUnavailable)
    assert not isinstance(acked, BaseException)
    assert [one.message_id for one in acked] == [sent.message_id]
    assert (removed, is_new) == (True, True)


async def test_a_batch_that_fails_on_one_node_leaves_no_answer_of_the_others_to_the_next(
    whole: list[RedisServer],
) -> None:
    first, second, third = (
        next(name for name in EVERYBODY if has(number, name)) for number in range(NODES)
    )
    link = ClusterLink(whole[0].url)
    mail = [[("SET", name, name)] for name in (first, second, third)]
    await link.exchange(mail)
    for _ in range(3):
        before = asyncio.all_tasks()
        with pytest.raises(UnicodeEncodeError):
            await link.exchange([[("SET", first, "\ud800")], *mail[1:]])
        assert asyncio.all_tasks() == before
        asked = [[("GET", second)], [("GET", third)]]
        assert await link.exchange(asked) == [[second.encode()], [third.encode()]]
    await link.close()


async def test_what_has_moved_already_is_found_where_it_is(
    hub: RedisBackend, whole: list[RedisServer]
) -> None:
    await hub.put_agent(Agent(agent_id="alpha"))
    move = Move(whole, "hub")
    move.begin()
    move.carry("agenthub:{hub}:agents")
    found = await asyncio.gather(*(hub.agent("alpha") for _ in range(200)))
    assert {agent and agent.agent_id for agent in found} == {"alpha"}
    move.carry()
    move.end()
    await send(hub, "a")
    assert texts(await take(hub)) == ["a"]
    move.back()
    assert await hub.agent("alpha") is not None


async def test_a_node_that_is_gone_takes_only_its_own_inboxes_and_no_wake_up(
    hub: RedisBackend, whole: list[RedisServer]
) -> None:
    gone = next(n for n in range(NODES) if not has(n, "hub") and not has(n, "beta"))
    staying = next(name for name in EVERYBODY if not has(gone, name))
    leaving = next(name for name in EVERYBODY if has(gone, name))
    backend = RedisBackend(whole[gone].url)
    await backend.open()
    await asyncio.gather(*(backend.send(letter("a", to=name)) for name in EVERYBODY))
    woken = Woken()
    backend.watch(staying, woken)
    await woken.wait()
    whole[gone].kill()
    try:
        outcomes = await asyncio.gather(
            *(backend.send(letter("b", to=name)) for name in EVERYBODY), return_exceptions=True
        )
        refused = {
            name
            for name, outcome in zip(EVERYBODY, outcomes, strict=True)
            if isinstance(outcome, BackendUnavailable)
        }
        assert refused == {name for name in EVERYBODY if has(gone, name)}
        await woken.wait()
        await backend.send(letter("c", to=staying))
        assert texts(await take(backend, staying)) == ["a", "b", "c"]
    finally:
        whole[gone].restart()
    await sent_again(backend, letter("d", to=leaving))
    await backend.close()


async def test_a_node_that_is_gone_keeps_no_sender_elsewhere_from_being_told(
    clock: ManualClock,
    whole: list[RedisServer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sweeper, "VISITS_AT_ONCE", 1)
    for node in whole:
        node.flush()
    gone = next(number for number in range(NODES) if not has(number, "hub"))
    leaving = next(name for name in EVERYBODY if has(gone, name))
    staying, other, *more = sorted(name for name in EVERYBODY if not has(gone, name))[:7]
    url = next(node for node in whole if node is not whole[gone]).url
    backend = RedisBackend(url, clock=clock)
    await backend.open()
    upkeep = Hub(backend, clock)._upkeep
    for sender, to in ((other, leaving), (leaving, other), (other, staying)):
        await backend.send(letter(to=to, sender=sender, ttl=1.0))
    for later, to in enumerate((leaving, *more)):
        await backend.send(letter(to=to, sender=staying, ttl=4.0 + later))
    clock.pass_by(2.0)
    await backend.sweep()
    whole[gone].kill()
    try:
        clock.pass_by(ROUND)
        for _ in range(3):
            await upkeep._round()
        assert told_of(await take(backend, other)) == [staying]
        assert sorted(told_of(await take(backend, staying))) == more
        assert caplog.text.count("upkeep waits for the store") == 1
    finally:
        whole[gone].restart()
    async with asyncio.timeout(PATIENCE):
        while await backend.undelivered(10):
            await upkeep._round()
    assert told_of(await take(backend, leaving)) == [other]
    await backend.close()


def told_of(deliveries: list[Delivery]) -> list[str]:
    """Where something ended, by the notices of it."""
    return [json.loads(one.message.payload)["recipient"] for one in deliveries]


async def test_a_connection_that_was_cut_is_no_node_that_does_not_answer(
    hub: RedisBackend, whole: list[RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.gather(*(hub.send(letter("a", to=name)) for name in EVERYBODY))
    for node in whole:
        command(node, "CLIENT", "KILL", "TYPE", "normal")
    await asyncio.gather(*(hub.send(letter("b", to=name)) for name in EVERYBODY))
    assert "does not answer" not in caplog.text


async def test_a_cluster_is_found_again_by_any_node_that_was_named(
    whole: list[RedisServer],
) -> None:
    staying = next(name for name in EVERYBODY if not has(0, name))
    link = ClusterLink(whole[0].url)
    await link.exchange([[("GET", next(name for name in EVERYBODY if has(0, name)))]])
    whole[0].kill()
    try:
        await link.reset()
        assert await link.exchange([[("SET", staying, "a")]]) == [[b"OK"]]
    finally:
        whole[0].restart()
        await link.close()


# --- credentials ----------------------------------------------------------------------------


async def found(store: RedisStore, keys: list[str]) -> list[bytes | BaseException | None]:
    """Many times at once: as many agents come, each with its own."""
    asked = (store.get(Kind.TOKEN, key) for key in keys * 10)
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_credentials_are_known_while_they_move(
    store: RedisStore, whole: list[RedisServer]
) -> None:
    here, there = (
        [f"{side}{number}" for number in range(10)] for side in ("stays a while", "has moved")
    )
    for key in here + there:
        await store.put(Kind.TOKEN, key, b"v")
    move = Move(whole, "credentials")
    move.begin()
    move.carry(*(f"agenthub:{{credentials}}:token:{key}" for key in there))
    assert await found(store, here + there) == [b"v"] * 200
    assert await found(store, ["nobody's"]) == [None] * 10
    assert len(await store.get_many(Kind.TOKEN, here + there)) == 20
    assert len(await store.entries(Kind.TOKEN)) == 20
    with pytest.raises(BackendUnavailable, match="moves these keys") as refused:
        await store.put(Kind.TOKEN, there[0], b"w")
    assert refused.value.retry_after is not None
    move.carry()
    move.end()
    assert await found(store, here + there) == [b"v"] * 200
    assert await store.put(Kind.TOKEN, there[0], b"w")
    assert await store.delete(Kind.TOKEN, there[0])
    move.back()
    assert await found(store, here) == [b"v"] * 100


async def test_a_node_that_is_gone_takes_no_credentials_that_it_has_not(
    store: RedisStore, whole: list[RedisServer]
) -> None:
    await store.put(Kind.TOKEN, "a", b"v")
    for number, node in enumerate(whole):
        if not has(number, "credentials"):
            node.kill()
            try:
                assert await found(store, ["a"]) == [b"v"] * 10
                assert await store.put(Kind.TOKEN, "a", b"v")
            finally:
                node.restart()


# --- a replica that takes over --------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary with all slots, and its replica."""
    with (
        redis_server(cluster=True) as primary,
        redis_server(cluster=True, slots=range(0)) as replica,
    ):
        command(replica, "CLUSTER", "MEET", "127.0.0.1", primary.port)
        replica.await_cluster(slots=SLOTS)
        command(replica, "CLUSTER", "REPLICATE", command(primary, "CLUSTER", "MYID"))
        await_named(primary, "127.0.0.1", replica.port)
        yield primary, replica


async def test_the_replica_of_a_node_that_hangs_takes_over(
    pair: tuple[RedisServer, RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    primary, replica = pair
    hub, store = RedisBackend(primary.url), RedisStore(primary.url, time.time)
    await hub.open()
    await store.open()
    await hub.send(letter("before"))
    await store.put(Kind.TOKEN, "a", b"v")
    assert command(primary, "WAIT", 1, int(PATIENCE * 1_000)) == 1
    primary.process.send_signal(signal.SIGSTOP)
    try:
        refused = await asyncio.gather(
            hub.send(letter("meanwhile")), store.get(Kind.TOKEN, "a"), return_exceptions=True
        )
        assert [type(one) for one in refused] == [BackendUnavailable] * 2
        said = f"names a node at 127.0.0.1:{primary.port}, which does not answer"
        assert caplog.text.count(said) == 2, "each of them says it once"
        command(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        await sent_again(hub, letter("after"))
        assert texts(await take(hub)) == ["before", "after"]
        assert await found_again(store, "a") == b"v"
    finally:
        primary.process.send_signal(signal.SIGCONT)
        await hub.close()
        await store.close()


async def test_a_node_that_left_the_cluster_and_goes_on_is_neither_asked_nor_listened_to(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, left = pair
    link = ClusterLink(primary.url)
    await link.exchange([[("SET", "a", "b")]])
    its_id = command(left, "CLUSTER", "MYID")
    command(left, "CLUSTER", "RESET", "HARD")
    command(primary, "CLUSTER", "FORGET", its_id)
    for _ in range(2):
        await link.reset()
        assert await link.exchange([[("GET", "a")]]) == [[b"b"]]
        assert link._named == {("127.0.0.1", primary.port)}
    assert {link.listener().port for _ in range(20)} == {primary.port}  # type: ignore[attr-defined]
    await link.close()


async def found_again(store: RedisStore, key: str) -> bytes | None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await store.get(Kind.TOKEN, key)
            except BackendUnavailable:
                await asyncio.sleep(0.01)

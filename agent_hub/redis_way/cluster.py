"""The way to a cluster: a connection to each of its nodes, and who has which slots."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisError,
    ResponseError,
)

from agent_hub.redis_way.errors import unavailable
from agent_hub.redis_way.link import Group, Link, NodeLink, Words, pool_of

log = logging.getLogger(__name__)

Place: TypeAlias = tuple[str, int]
"""A node's host and port."""

REDIRECTIONS = 5
"""How often in a row a node may send on to another one."""


class ClusterLink(Link):
    """Each command goes to the node of its key; those for one node go in one write.

    A node that does not answer is as one that says that the cluster is down: only what is asked
    of it fails. The way is broken when no node answers.
    """

    def __init__(self, url: str) -> None:
        """Raises BackendUnavailable for the URL of a socket."""
        self._pool = pool_of(url)
        of_url = self._pool.connection_kwargs
        if "path" in of_url:
            raise unavailable(
                f"Redis at {of_url['path']} is a cluster, and its other nodes are not behind that "
                "socket: name it by redis:// or rediss://"
            )
        self._first: Place = (of_url.get("host", "localhost"), of_url.get("port", 6379))
        self._nodes: dict[Place, NodeLink] = {}
        self._owners: dict[int, Place] = {}
        self._named: set[Place] = set()
        self._silent: set[Place] = set()

    async def exchange(self, groups: Sequence[Group]) -> list[list[Any]]:
        """The commands of a group one after the other, groups side by side."""
        if not self._owners:
            await self._find_owners()
        answers: list[list[Any]] = [[] for _ in groups]
        while True:
            runs = [
                self._run(group, len(told)) for group, told in zip(groups, answers, strict=True)
            ]
            commands = [words for run in runs for words in run]
            if not commands:
                return answers
            told = iter(await self._ask(commands))
            for place, run in enumerate(runs):
                answers[place] += [next(told) for _ in run]

    def _run(self, group: Group, start: int) -> list[Words]:
        """What comes next in a group, as far as it is for one node."""
        run: list[Words] = []
        for words in group[start:]:
            if run and self._owner(words) != self._owner(run[0]):
                break
            run.append(words)
        return run

    def _owner(self, words: Words) -> Place:
        return self._owners.get(slot_of(words), self._first)

    # --- to and from the nodes ------------------------------------------------------------

    async def _ask(self, commands: Sequence[Words]) -> list[Any]:
        """Ask the nodes of the keys, and those that they name instead."""
        answers: dict[int, Any] = {}
        left = {number: (self._owner(words), False) for number, words in enumerate(commands)}
        for _ in range(REDIRECTIONS):
            answers |= await self._ask_nodes(commands, left)
            left = {
                number: self._sent_on(answers[number])
                for number in left
                if isinstance(answers[number], AskError)
            }
            if not left:
                break
        return [answers[number] for number in range(len(commands))]

    def _sent_on(self, answer: AskError) -> tuple[Place, bool]:
        """Where to ask instead; and whether only this once, as the slot is still on its way."""
        place = (answer.host or self._first[0], answer.port)
        if isinstance(answer, MovedError):
            self._owners[answer.slot_id] = place
            self._named.add(place)
            return place, False
        return place, True

    async def _ask_nodes(
        self, commands: Sequence[Words], where: Mapping[int, tuple[Place, bool]]
    ) -> dict[int, Any]:
        groups: dict[Place, dict[int, Group]] = defaultdict(dict)
        for number, (place, once) in where.items():
            words = commands[number]
            # On one connection, side by side: it is good for the next command alone.
            groups[place][number] = (("ASKING",), words) if once else (words,)
        # Wait for all, whatever fails: the next batch must not find one still reading.
        told = await asyncio.gather(
            *(self._ask_node(place, list(asked.values())) for place, asked in groups.items()),
            return_exceptions=True,
        )
        answers: dict[int, Any] = {}
        for asked, of_node in zip(groups.values(), told, strict=True):
            if isinstance(of_node, BaseException):
                raise of_node
            answers.update(zip(asked, of_node, strict=True))
        return answers

    async def _ask_node(self, place: Place, groups: Sequence[Group]) -> list[Any]:
        is_new = place not in self._nodes
        try:
            told = [answers[-1] for answers in await self._node(place).exchange(groups)]
        except (RedisError, OSError):
            del self._nodes[place]
            if is_new:  # else it is its connection that was cut, until the next try
                self._say_silent(place)
            return [ClusterDownError("no answer", status_code="CLUSTERDOWN")] * len(groups)
        except asyncio.CancelledError:  # there was no patience left for it
            self._say_silent(place)
            raise
        self._silent.discard(place)
        return told

    def _say_silent(self, place: Place) -> None:
        """Once: it may be gone, or the address that the cluster has for it be no good from here."""
        if place not in self._silent:
            self._silent.add(place)
            log.warning("the Redis cluster names a node at %s:%s, which does not answer", *place)

    def _node(self, place: Place) -> NodeLink:
        if place not in self._nodes:
            self._nodes[place] = node = NodeLink(self._pool_at(place))
            node.on_answer = self._answered
        return self._nodes[place]

    def _pool_at(self, place: Place) -> ConnectionPool:
        host, port = place
        options = self._pool.connection_kwargs | {"host": host, "port": port}
        return ConnectionPool(connection_class=self._pool.connection_class, **options)

    def _answered(self) -> None:
        self.on_answer()

    # --- who has what ---------------------------------------------------------------------

    async def _find_owners(self) -> None:
        """Ask one that was named before, or else the node of the URL, and raise what that does.

        In any order: one that hangs must not be the first for ever.
        """
        named = self._named - {self._first}
        for place in random.sample(list(named), len(named)):  # nosec B311
            try:
                await self._take_over(place)
            except (RedisError, OSError):
                await self._nodes.pop(place).reset()
            else:
                return
        await self._take_over(self._first)

    async def _take_over(self, place: Place) -> None:
        ((slots,),) = await self._node(place).exchange([[("CLUSTER", "SLOTS")]])
        if isinstance(slots, ResponseError):
            raise slots
        if not slots:  # it has left the cluster, or came back with nothing
            raise ClusterDownError("no slots", status_code="CLUSTERDOWN")
        self._named = set()
        for first, last, *nodes in slots:
            places = [(host.decode() if host else place[0], port) for host, port, *_ in nodes]
            self._owners.update(dict.fromkeys(range(first, last + 1), places[0]))
            self._named.update(places)

    async def reset(self) -> None:
        self._owners.clear()

    def listener(self) -> AbstractConnection:
        """To any node: what is published reaches all of them."""
        place = random.choice(list(self._nodes) or [self._first])  # nosec B311
        return self._node(place).listener()

    async def close(self) -> None:
        for node in self._nodes.values():
            await node.close()


def slot_of(words: Words) -> int:
    """By its first key: all keys of a script are in one slot."""
    key = words[3] if words[0] in ("EVALSHA", "EVAL") else words[1]
    return key_slot(key.encode() if isinstance(key, str) else key)

"""The way to a Redis server: one connection."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hiredis import pack_command
from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

Words: TypeAlias = tuple[Any, ...]
"""One command as Redis reads it."""
Group: TypeAlias = Sequence[Words]
"""Commands that are given one after the other and answered together."""

CONNECT_SECONDS = 2.0


class Link(ABC):
    """Carries groups of commands and brings their answers, in the same order.

    An error that Redis answers stands in the place of the answer. `on_answer` hears of each one
    as it comes.
    """

    on_answer: Callable[[], None] = staticmethod(lambda: None)

    @abstractmethod
    async def exchange(self, groups: Sequence[Group]) -> list[list[Any]]:
        """Raises RedisError or OSError when the way is broken: any of it may have been done."""

    @abstractmethod
    async def reset(self) -> None:
        """Forget the connection: the next one may find another server behind the name."""

    @abstractmethod
    def listener(self) -> AbstractConnection:
        """A new connection to listen on, not open yet; reading from it may take for ever."""

    @abstractmethod
    async def close(self) -> None: ...


def pool_of(url: str) -> ConnectionPool:
    """What the URL says of a connection, and the settings of ours.

    Nothing is tried twice by the library, and it measures no time: the pipeline does both, and
    a listener waits for ever. Answers are short in protocol 2 and need no greeting: how they look
    is not the URL's to say.
    """
    ours: dict[str, Any] = {
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "driver_info": None,
        **({} if url.startswith("unix:") else {"socket_keepalive": True}),
    }
    fixed = {"protocol": 2, "decode_responses": False}
    return BlockingConnectionPool(**{**ours, **parse_url(url), **fixed})


def _connection(pool: ConnectionPool) -> AbstractConnection:
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection


async def connect(connection: AbstractConnection) -> None:
    await connection.connect()  # type: ignore[no-untyped-call]


class NodeLink(Link):
    """One connection; all that is given at once goes in one write."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._connection = _connection(pool)

    async def exchange(self, groups: Sequence[Group]) -> list[list[Any]]:
        connection = self._connection
        try:
            if not connection.is_connected:
                await connect(connection)
            packed = [pack_command(words) for group in groups for words in group]
            await connection.send_packed_command(packed, check_health=False)
            return [[await self._read() for _ in group] for group in groups]
        except BaseException:
            # Answers that nobody reads would be taken for those of the next commands.
            await connection.disconnect(nowait=True)
            raise

    async def _read(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf)
        except ResponseError as error:
            return error
        finally:
            self.on_answer()

    async def about(self, *sections: str) -> dict[str, str]:
        """What it says of itself. Raises what `exchange` does, also for an error as the answer."""
        (answers,) = await self.exchange([[("INFO", section) for section in sections]])
        found: dict[str, str] = {}
        for text in answers:
            if isinstance(text, ResponseError):
                raise text
            lines = (line.partition(":") for line in text.decode().splitlines())
            found.update((name, value) for name, colon, value in lines if colon)
        return found

    async def reset(self) -> None:
        await self._connection.disconnect(nowait=True)

    def listener(self) -> AbstractConnection:
        return _connection(self._pool)

    async def close(self) -> None:
        await self._connection.disconnect()

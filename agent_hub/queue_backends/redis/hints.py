"""What Redis calls out: a connection of its own that listens to the inboxes watched here."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from agent_hub.redis_way.errors import said_of
from agent_hub.redis_way.link import Words, connect

log = logging.getLogger(__name__)

BEGIN_SECONDS = 5.0
"""For a connection to stand and to be let in: a network that swallows all must not hold it."""
PAUSE_SECONDS = (0.05, 1.0)
"""Before the listener connects again: the first pause, and the longest."""
QUIET_SECONDS = 5.0
"""After so long without a word the listener asks whether anybody is there, twice at most."""
MAX_IDLE_CHANNELS = 1_000
"""Channels that nobody watches any more, but may soon watch again."""
CHANNELS_AT_ONCE = 1_000


class Hints:
    """Channels to listen to, and what is called out there.

    `on_hint` gets a channel and a word. `on_silence_over` gets the channels whose hints may have
    been missed until now: those just subscribed to, for the first time or again.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractConnection],
        on_hint: Callable[[str, str], None],
        on_silence_over: Callable[[str], None],
    ) -> None:
        self._connect = connect
        self._on_hint = on_hint
        self._on_silence_over = on_silence_over
        self._wanted: dict[str, int] = {}
        self._idle: dict[str, None] = {}  # the longest idle first
        self._connection: AbstractConnection | None = None
        self._listener: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._commands: deque[Words] = deque()
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._heard_any = False  # on this connection
        self._refused = ""  # why, if that was the last

    def start(self) -> None:
        self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def close(self) -> None:
        tasks = [task for task in (self._listener, self._writer) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._disconnect()

    def want(self, channel: str) -> None:
        """Listen to a channel; `unwant` it as often."""
        if channel in self._wanted:
            self._wanted[channel] += 1
            return
        self._wanted[channel] = 1
        if channel in self._idle:
            del self._idle[channel]
        else:
            self._send("SUBSCRIBE", channel)

    def unwant(self, channel: str) -> None:
        """A channel is left once many others have been idle for shorter."""
        self._wanted[channel] -= 1
        if self._wanted[channel]:
            return
        del self._wanted[channel]
        self._idle[channel] = None
        if len(self._idle) > MAX_IDLE_CHANNELS:
            longest = next(iter(self._idle))
            del self._idle[longest]
            self._send("UNSUBSCRIBE", longest)

    async def caught_up(self) -> None:
        """Return when all that was called out before this call has been heard."""
        heard = asyncio.get_running_loop().create_future()
        self._pongs.append(heard)
        self._send("PING")
        await heard

    # --- what is said ---------------------------------------------------------------------

    def _send(self, *words: str) -> None:
        """Write soon; while there is no connection, the next one begins with all channels."""
        if self._connection is None:
            return
        self._commands.append(words)
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._commands and self._connection is not None:
                packed = [pack_command(words) for words in self._commands]
                self._commands.clear()
                await self._connection.send_packed_command(packed, check_health=False)
        except (RedisError, OSError):
            self._commands.clear()  # the listener finds the connection broken
        finally:
            self._writer = None

    # --- what is heard --------------------------------------------------------------------

    async def _listen(self) -> None:
        shortest, longest = PAUSE_SECONDS
        pause = shortest
        while True:
            self._heard_any = False
            try:
                await self._begin()
                await self._hear()
            except ResponseError as error:
                self._say_refused(said_of(error))
            except (RedisError, OSError) as error:
                log.debug("the listener's connection is lost: %s", type(error).__name__)
            except Exception:
                log.exception("the listener failed")
            await self._disconnect()
            if self._heard_any:
                pause = shortest
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _say_refused(self, why: str) -> None:
        """Once, until it hears again: it comes back each second."""
        if why != self._refused:
            log.warning("the listener is refused: %s", why)
        self._refused = why

    async def _begin(self) -> None:
        connection = self._connect()
        try:
            async with asyncio.timeout(BEGIN_SECONDS):
                await connect(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection
        self._idle.clear()
        for channels in _slices(self._wanted):
            self._send("SUBSCRIBE", *channels)
        if self._pongs:
            self._send("PING")

    async def _hear(self) -> None:
        assert self._connection is not None
        asked = False
        while True:
            said = await self._connection.read_response(timeout=QUIET_SECONDS)
            if said is None:
                if asked:
                    raise TimeoutError
                self._send("PING")
            asked = said is None
            if said is not None:
                self._heard_any, self._refused = True, ""
                self._take_in(said)

    def _take_in(self, said: object) -> None:
        match said:
            case [b"message", bytes() as channel, bytes() as word]:
                self._on_hint(channel.decode(), word.decode())
            case [b"subscribe", bytes() as channel, _]:
                self._on_silence_over(channel.decode())
            case [b"pong", _] | b"PONG":
                if self._pongs and not (heard := self._pongs.popleft()).done():
                    heard.set_result(None)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._commands.clear()
        if connection is not None:
            await connection.disconnect(nowait=True)


def _slices(channels: Iterable[str]) -> list[list[str]]:
    every = list(channels)
    return [every[at : at + CHANNELS_AT_ONCE] for at in range(0, len(every), CHANNELS_AT_ONCE)]

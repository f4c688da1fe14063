"""Scripts and keys, and the pipeline that carries them: what all parts of the backend share."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, TypeVar

from msgspec.structs import asdict

from agent_hub.core.clock import Clock
from agent_hub.core.limits import Limits
from agent_hub.core.queue_backend import OCCUPANCY_SECONDS
from agent_hub.queue_backends.redis.codec import decode_news
from agent_hub.queue_backends.redis.keys import HUB, LAYOUT, Keys
from agent_hub.queue_backends.redis.lua import scripts
from agent_hub.queue_backends.refusals import too_many_inboxes
from agent_hub.redis_way.errors import unavailable
from agent_hub.redis_way.link import Group, Link, Words
from agent_hub.redis_way.pipeline import Pipeline

T = TypeVar("T")

log = logging.getLogger(__name__)


@lru_cache(maxsize=8)
def load_scripts(limits: Limits) -> dict[str, scripts.Script]:
    constants = {**asdict(limits), "occupancy_seconds": OCCUPANCY_SECONDS}
    return {name: scripts.load(name, constants) for name in scripts.names()}


class Store:
    """One transition is one script, in the slot of one inbox or of the hub.

    `clock` is for tests: without it all time is the server's.
    """

    def __init__(self, keys: Keys, limits: Limits, clock: Clock | None) -> None:
        self.keys = keys
        self.limits = limits
        self.clock = clock
        self._scripts = load_scripts(limits)
        self._pipeline: Pipeline | None = None
        self.asked = 0
        self._shielded: set[asyncio.Task[Any]] = set()

    def open(
        self, link: Link, place: str, on_return: Callable[[], None], reply_seconds: float
    ) -> None:
        probe = ("UNLINK", self.keys.hub("alive"))
        texts = {script.sha: script.text for script in self._scripts.values()}
        name = f"Redis at {place}"
        self._pipeline = Pipeline(link, name, texts, on_return, reply_seconds, probe)

    async def close(self) -> None:
        while self._shielded:
            await asyncio.gather(*self._shielded, return_exceptions=True)
        if self._pipeline is not None:
            await self._pipeline.close()

    @property
    def is_working(self) -> bool:
        is_carrying = self._pipeline is not None and self._pipeline.is_working
        return is_carrying or bool(self._shielded)

    @property
    def script_texts(self) -> list[str]:
        return [script.text for script in self._scripts.values()]

    async def agree_on_layout(self, place: str) -> None:
        """Raises BackendUnavailable where a hub of another kind laid out the keys."""
        (found,) = await self.ask((("GET", self.keys.hub("layout")),))
        if found is None:
            (found,) = await self.hub_call("layout", LAYOUT)
        if found != LAYOUT:
            raise unavailable(
                f"Redis at {place}: its keys have layout {found.decode(errors='replace')}, and "
                f"this hub knows {LAYOUT.decode()}; start the newer hub, or take another Redis"
            )

    # --- to ask ---------------------------------------------------------------------------

    def script(self, name: str, agent_id: str, *arguments: Any, **more: str) -> Words:
        """The call of a script on an inbox. `more` names keys of another kind, by their name."""
        script = self._scripts[name]
        names = self.keys.of(agent_id, script.keys)
        if more:
            by_name = dict(zip(script.keys, names, strict=True)) | more
            names = tuple(by_name[key] for key in script.keys)
        return ("EVALSHA", script.sha, len(names), *names, *self._time(), *arguments)

    def hub_script(self, name: str, *arguments: Any) -> Words:
        return self.script(name, HUB, *arguments)

    def _time(self) -> tuple[str, str]:
        if self.clock is None:
            return "", ""
        return repr(self.clock.time()), repr(self.clock.monotonic())

    def ask(
        self, group: Group, on_answer: Callable[[list[Any]], None] | None = None
    ) -> asyncio.Future[list[Any]]:
        """The answers to some commands. Fails with BackendUnavailable."""
        assert self._pipeline is not None, "not open"
        self.asked += 1
        return self._pipeline.ask(group, on_answer)

    def tell(self, *group: Words) -> None:
        """Have something done that nobody waits for, and that the sweeper makes up for."""
        self.ask(group)

    async def call(self, name: str, agent_id: str, *arguments: Any, **more: str) -> list[Any]:
        """What a script of one inbox answers, after its news."""
        group = (self.script(name, agent_id, *arguments, **more),)
        answers = await self.ask(group, lambda answers: self.follow(agent_id, answers[0][0]))
        rest: list[Any] = answers[0][1:]
        return rest

    async def hub_call(self, name: str, *arguments: Any) -> list[Any]:
        answers = await self.ask((self.hub_script(name, *arguments),))
        rest: list[Any] = answers[0][1:]
        return rest

    async def call_made(self, name: str, agent_id: str, *arguments: Any) -> list[Any]:
        """The same of an inbox that is made if there is none; the last argument is its epoch.

        Raises TooManyInboxes.
        """
        answers = await self.call(name, agent_id, *arguments, "")
        if answers[:1] != [b"absent"]:
            return answers
        await self.admit(agent_id)
        answers = await self.call(name, agent_id, *arguments, secrets.token_hex(8))
        self.index(agent_id)
        return answers

    async def admit(self, agent_id: str) -> None:
        """Enter an inbox in the index before it is made. Raises TooManyInboxes."""
        (admitted,) = await self.hub_call("admit", agent_id, "1")
        if not admitted:
            raise too_many_inboxes(agent_id, self.limits)

    def index(self, agent_id: str) -> None:
        """Once more, now that it is there: the sweeper may have taken the entry for a left-over."""
        self.tell(self.hub_script("admit", agent_id, "0"))

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """Do all of several steps, also when who asked for them goes away in between."""
        task = asyncio.ensure_future(work)
        self._shielded.add(task)
        task.add_done_callback(self._shielded.discard)
        return await asyncio.shield(task)

    # --- what is left to do ---------------------------------------------------------------

    def follow(self, agent_id: str, packed: bytes) -> None:
        """Do in other slots what a transition left to do. The sweeper makes up for a crash."""
        if not packed:
            return
        news = decode_news(packed)
        keys = self.keys
        if news.due >= 0:
            self.tell(("ZADD", keys.hub("visits"), "LT", repr(news.due), agent_id))
        if news.ended:
            self.tell(("SADD", keys.hub("endings"), agent_id))
        for sender, message_id, broadcast in news.gone:
            if broadcast:
                self.tell(("SREM", keys.copies(sender, message_id), agent_id))
            else:
                self.tell(("UNLINK", keys.sent(sender, message_id)))

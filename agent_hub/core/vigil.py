"""The watch over the credentials of what is open: a stream or a wait ends with its credential."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType

from agent_hub.core.authentication import Authentication
from agent_hub.core.clock import Clock, Timer
from agent_hub.core.errors import BackendUnavailable, Unauthenticated
from agent_hub.core.principal import Principal

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0
"""A revoked credential is noticed within so long, and what an authenticator remembers of it."""


class Watched:
    """One open thing of a caller. `is_lost` once its credential is no good any more."""

    __slots__ = (
        "_known",
        "_on_lost",
        "caller",
        "is_lost",
    )

    def __init__(
        self, caller: Principal, on_lost: Callable[[], None], known: set[Watched] | None
    ) -> None:
        self.caller = caller
        self.is_lost = False
        self._on_lost = on_lost
        self._known = known
        if known is not None:
            known.add(self)

    def lose(self) -> None:
        self.is_lost = True
        self.close()
        self._on_lost()

    def check(self) -> None:
        """Raise Unauthenticated when the credential was lost."""
        if self.is_lost:
            raise Unauthenticated("the credential has expired or was revoked")

    def close(self) -> None:
        """Closing twice is fine."""
        if self._known is not None:
            self._known.discard(self)

    def __enter__(self) -> Watched:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


NEVER_LOST = Watched(Principal(via=""), lambda: None, None)
"""What is open for a caller without a credential: one for all, as ten thousand may be open."""


class Vigil:
    """Looks every CHECK_SECONDS, while something with a credential is open."""

    def __init__(self, clock: Clock, authentication: Authentication | None) -> None:
        self._clock = clock
        self._authentication = authentication
        self._open: set[Watched] = set()
        self._timer: Timer | None = None
        self._looking: asyncio.Task[None] | None = None

    def over(self, caller: Principal, on_lost: Callable[[], None]) -> Watched:
        """Call `on_lost` when this caller's credential expires or is revoked, until closed."""
        if self._authentication is None or caller.is_anyone:
            return NEVER_LOST
        watched = Watched(caller, on_lost, self._open)
        self._set()
        return watched

    def _set(self) -> None:
        if self._timer is None and self._looking is None and self._open:
            self._timer = self._clock.call_later(CHECK_SECONDS, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._looking = asyncio.ensure_future(self._look())
        self._looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Task[None]) -> None:
        self._looking = None
        if not looking.cancelled() and looking.exception() is not None:
            log.error("credentials could not be checked", exc_info=looking.exception())
        if not looking.cancelled():
            self._set()

    async def _look(self) -> None:
        revoked = await self._revoked()
        now = self._clock.time()
        for watched in list(self._open):
            expires_at = watched.caller.expires_at
            is_over = expires_at is not None and expires_at <= now
            if is_over or watched.caller.credential in revoked:
                watched.lose()

    async def _revoked(self) -> set[str]:
        """A store that is away says nothing: what is open stays so, and is asked for again."""
        assert self._authentication is not None
        callers = {watched.caller.credential: watched.caller for watched in self._open}
        try:
            return await self._authentication.lost(callers.values())
        except BackendUnavailable as away:
            log.warning("revocations cannot be seen: %s", away.detail)
            return set()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()

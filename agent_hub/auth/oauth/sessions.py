"""Sessions: one for each sign-in, from the person's consent until an hour without use."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import msgspec
from msgspec import Struct

from agent_hub.auth.store import CredentialStore, Kind

IDLE_SECONDS = 3_600.0
"""A session that nobody used for so long is over. Every use begins the hour anew."""
LONGEST_SECONDS = 30 * 86_400.0
"""However busy it is, the person is asked again after this."""
GRAIN_SECONDS = 1.0
"""Uses within one second are written down once."""


class Session(Struct, frozen=True, kw_only=True):
    """What a person agreed to. Times are wall time.

    `subject` is who the person is, the owner of the agents they register; `person` how they are
    called in a list. `proof` says how that is known: `login code`, or the issuer that said so.
    """

    id: str
    subject: str
    person: str
    proof: str
    client_id: str
    client_name: str
    agent: str
    scopes: tuple[str, ...]
    created_at: float
    last_active: float


class Sessions:
    """Creates, validates, extends, ends and lists sessions, in a store that all nodes share.

    `now` is the wall clock.
    """

    def __init__(self, store: CredentialStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def name(self) -> str:
        """An id for a session to come."""
        return secrets.token_hex(12)

    async def create(self, session: Session) -> None:
        """Begin a session. Its times are set here."""
        now = self._now()
        fresh = msgspec.structs.replace(session, created_at=now, last_active=now)
        await self._write(fresh, only_known=False)

    async def use(self, session_id: str) -> Session | None:
        """The session, and its hour begins anew; None when it is over."""
        kept = await self._store.get(Kind.SESSION, session_id)
        if kept is None:
            return None
        session, now = msgspec.json.decode(kept, type=Session), self._now()
        if now - session.last_active < GRAIN_SECONDS:
            return session
        session = msgspec.structs.replace(session, last_active=now)
        # One that another node ended meanwhile must not come back to life.
        return session if await self._write(session, only_known=True) else None

    async def end(self, session_id: str) -> bool:
        """End it, now, with all its tokens. False when there is none."""
        return await self._store.delete(Kind.SESSION, session_id)

    async def all(self) -> list[Session]:
        """Those that stand, the one used last at the end."""
        entries = await self._store.entries(Kind.SESSION)
        sessions = (msgspec.json.decode(entry.value, type=Session) for entry in entries)
        return sorted(sessions, key=lambda session: (session.last_active, session.id))

    async def _write(self, session: Session, *, only_known: bool) -> bool:
        return await self._store.put(
            Kind.SESSION,
            session.id,
            msgspec.json.encode(session),
            expires_at=_ends_at(session),
            only_known=only_known,
        )


def _ends_at(session: Session) -> float:
    return min(session.last_active + IDLE_SECONDS, session.created_at + LONGEST_SECONDS)

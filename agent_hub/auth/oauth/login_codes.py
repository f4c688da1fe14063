"""Login codes: by one of these the hub knows a person whom its operator knows."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.principal import ORDINARY, check_agents, check_name, check_scopes

LIFE_SECONDS = 600.0
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Without those that are taken for one another: 5 bits each."""
LENGTH = 12
GROUP = 4
DEFAULT_NAME = "owner"
ANY_AGENT = "*"

_NOT_A_LETTER = re.compile(r"[^A-Z0-9]")


class LoginCode(Struct, frozen=True):
    """Who the person is, as which agents they may sign in, and what they may do at most."""

    name: str
    agents: tuple[str, ...]
    scopes: tuple[str, ...]


class LoginCodes:
    """Makes codes, and takes each once. `now` is the wall clock."""

    def __init__(self, store: CredentialStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def make(
        self,
        *,
        name: str | None = None,
        agents: Iterable[str] = (),
        scopes: Iterable[str] | None = None,
    ) -> str:
        """A code for LIFE_SECONDS, of which the store keeps a digest. Raises Invalid.

        Without `agents` any may be chosen. All codes of one name are one person.
        """
        person = DEFAULT_NAME if name is None else check_name(name, "--name")
        named = tuple(dict.fromkeys(agents)) or (ANY_AGENT,)
        check_agents(named, "--agent")
        allowed = check_scopes(ORDINARY if scopes is None else scopes, "--scope")
        code = LoginCode(person, named, tuple(sorted(allowed)))
        text = "".join(secrets.choice(LETTERS) for _ in range(LENGTH))
        await self._store.put(
            Kind.LOGIN_CODE,
            _digest(text),
            msgspec.json.encode(code),
            expires_at=self._now() + LIFE_SECONDS,
        )
        return "-".join(text[start : start + GROUP] for start in range(0, LENGTH, GROUP))

    async def look(self, text: str) -> LoginCode | None:
        """What a code says, without taking it; None for one that is none."""
        kept = await self._store.get(Kind.LOGIN_CODE, _digest(_bare(text)))
        return None if kept is None else msgspec.json.decode(kept, type=LoginCode)

    async def take(self, text: str) -> bool:
        """Use a code up. True for the one who did."""
        return await self._store.delete(Kind.LOGIN_CODE, _digest(_bare(text)))


def _bare(text: str) -> str:
    """A code as it was made, whichever way it was typed."""
    return _NOT_A_LETTER.sub("", text.upper())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

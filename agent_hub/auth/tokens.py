"""The hub's own tokens: made once, shown once, kept as a digest.

A token is `ah_`, an id to look it up by, and 256 random bits. Random bits need no slow hash: that
protects what people choose, because those can be guessed one after the other, and nobody guesses
256 bits however fast the hash is. So one SHA-256 is enough, and every call can afford it. The
prefix is for scanners of leaked secrets, and no character of it ends a word in an editor.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.errors import Invalid, Unauthenticated
from agent_hub.core.principal import ORDINARY, Principal, check_agents, check_name, check_scopes

PREFIX = "ah_"
ID_BYTES = 10
SECRET_BYTES = 32
MAX_AGENTS = 64
REMEMBERED_SECONDS = 30 * 86_400.0
"""How long an expired token is still listed, and refused as expired rather than as unknown."""

_TOKEN = re.compile(r"ah_([a-z2-7]{16})_([a-z2-7]{52})")
_UNKNOWN = "0" * 64
"""Compared with when there is no such id: it takes as long."""


class Token(Struct, frozen=True, kw_only=True):
    """What is kept of a token. All tokens of one `name` are one principal.

    `digest` is the hexadecimal SHA-256 of the secret. Times are wall time.
    """

    id: str
    name: str
    agents: tuple[str, ...]
    scopes: tuple[str, ...]
    digest: str
    created_at: float
    expires_at: float | None = None


class Tokens:
    """Makes, finds and revokes tokens, in a store that other processes write too.

    `now` is the wall clock.
    """

    def __init__(self, store: CredentialStore, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def create(
        self,
        agents: Iterable[str],
        *,
        name: str | None = None,
        scopes: Iterable[str] | None = None,
        lifetime: float | None = None,
    ) -> tuple[str, Token]:
        """A new token, whole, and what is kept of it. Raises Invalid.

        `name` is who it belongs to, the first agent unless given; `lifetime` is in seconds.
        """
        named = tuple(dict.fromkeys(agents))
        check_agents(named, "--agent")
        if len(named) > MAX_AGENTS:
            raise Invalid.at("--agent", f"at most {MAX_AGENTS}")
        allowed = check_scopes(ORDINARY if scopes is None else scopes, "--scope")
        now = self._now()
        token_id, secret = _random(ID_BYTES), _random(SECRET_BYTES)
        token = Token(
            id=token_id,
            name=_checked_name(name, named),
            agents=named,
            scopes=tuple(sorted(allowed)),
            digest=_digest(secret),
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        await self._store.put(
            Kind.TOKEN,
            token_id,
            msgspec.json.encode(token),
            expires_at=None if token.expires_at is None else token.expires_at + REMEMBERED_SECONDS,
        )
        return f"{PREFIX}{token_id}_{secret}", token

    async def prove(self, credential: str, *, via: str, peer: str) -> Principal:
        """The principal of a token. Raises Unauthenticated."""
        shape = _TOKEN.fullmatch(credential)
        if shape is None:
            raise Unauthenticated("this is not a token of this hub")
        token_id, secret = shape.groups()
        token = await self._find(token_id)
        digest = _UNKNOWN if token is None else token.digest
        if not hmac.compare_digest(_digest(secret), digest) or token is None:
            raise Unauthenticated("the token is unknown or was revoked")
        if token.expires_at is not None and token.expires_at <= self._now():
            raise Unauthenticated("the token has expired")
        return Principal(
            via=via,
            peer=peer,
            agents=frozenset(token.agents),
            subject=f"token:{token.name}",
            scopes=frozenset(token.scopes),
            credential=f"token:{token.id}",
            expires_at=token.expires_at,
        )

    async def _find(self, token_id: str) -> Token | None:
        kept = await self._store.get(Kind.TOKEN, token_id)
        return None if kept is None else msgspec.json.decode(kept, type=Token)

    async def known(self) -> list[Token]:
        """All tokens, oldest first; expired ones for REMEMBERED_SECONDS."""
        kept = await self._store.entries(Kind.TOKEN)
        tokens = (msgspec.json.decode(entry.value, type=Token) for entry in kept)
        return sorted(tokens, key=lambda token: (token.created_at, token.id))

    async def revoke(self, token_id: str) -> bool:
        """End a token, now. Takes its id, or the whole of it. False when there is none."""
        return await self._store.delete(Kind.TOKEN, id_of(token_id))


def id_of(text: str) -> str:
    """The id in a whole token, or an id as it is shown or kept."""
    whole = _TOKEN.fullmatch(text)
    return whole.group(1) if whole else text.removeprefix(PREFIX)


def name_of(credential: str) -> str:
    """What a log may call a credential that was shown: its id, if it has the form of a token."""
    whole = _TOKEN.fullmatch(credential)
    return f"token:{whole.group(1)}" if whole else ""


def _checked_name(name: str | None, agents: tuple[str, ...]) -> str:
    if name is None:
        if not agents:
            raise Invalid.at("--agent", "name an agent, or with --name who the token is for")
        return agents[0]
    return check_name(name, "--name")


def _random(count: int) -> str:
    return base64.b32encode(secrets.token_bytes(count)).decode().rstrip("=").lower()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

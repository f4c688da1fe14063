"""The hub's authentication: whichever proof a credential is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import Any, Protocol, TypeVar

from agent_hub.auth.attempts import Attempts
from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.auth.tokens import PREFIX, name_of
from agent_hub.core.clock import Clock
from agent_hub.core.errors import HubError, RateLimited, Unauthenticated
from agent_hub.core.principal import Principal

MAX_CREDENTIAL_CHARACTERS = 8 * 1024
REMEMBERED_SECONDS = 1.0
"""How long a proof is good without asking the store again: the delay of a revocation."""
REMEMBERED = 10_000

TOKEN = "token:"  # nosec B105
JWT = "jwt:"

T = TypeVar("T")


OnRefused = Callable[[str, str, str, HubError], None]


def _tell_nobody(via: str, peer: str, credential: str, refusal: HubError) -> None:
    """Where no audit log is kept."""


class Proof(Protocol):
    async def prove(self, credential: str, *, via: str, peer: str) -> Principal:
        """Raises Unauthenticated."""
        ...


class KeyedProof(Proof, Protocol):
    def read_again(self) -> None:
        """Ask for the keys anew."""
        ...


class SessionProof(Proof, Protocol):
    """The proof by a token that this hub signed for a session."""

    def is_own(self, credential: str) -> bool:
        """Whether it says that this hub signed it; whether it did is for `prove`."""
        ...

    async def lost(self, credentials: Collection[str]) -> set[str]:
        """Those of these whose session is over, or that were revoked."""
        ...


class Proofs:
    """Implements `core.authentication.Authentication`.

    A credential that proved something before is never held up by the failures of others behind
    the same address. `on_refused` is told of each that proves nothing: the door, the address,
    the token's id if it has the form of one, and the refusal.
    """

    def __init__(
        self,
        store: CredentialStore,
        clock: Clock,
        *,
        tokens: Proof | None = None,
        jwts: KeyedProof | None = None,
        sessions: SessionProof | None = None,
        on_refused: OnRefused = _tell_nobody,
    ) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._jwts = jwts
        self._sessions = sessions
        self._on_refused = on_refused
        self._attempts = Attempts(clock)
        self._proved: dict[tuple[bytes, str, str], tuple[Principal, float]] = {}
        self._good: dict[bytes, None] = {}

    def read_again(self) -> None:
        """Forget what was proved before: whoever comes next is looked at anew."""
        self._proved.clear()
        if self._jwts is not None:
            self._jwts.read_again()

    async def authenticate(self, credential: str, *, via: str, peer: str) -> Principal:
        digest = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
        remembered = self._remembered((digest, via, peer))
        if remembered is not None:
            return remembered
        try:
            if digest not in self._good:
                self._attempts.check(peer)
            principal = await self._prove(credential, digest, via, peer)
        except HubError as refusal:
            self._on_refused(via, peer, name_of(credential), refusal)
            raise
        self._remember((digest, via, peer), principal)
        return principal

    async def _prove(self, credential: str, digest: bytes, via: str, peer: str) -> Principal:
        proof = self._proof_of(credential)
        try:
            if len(credential) > MAX_CREDENTIAL_CHARACTERS or not credential.isascii():
                raise Unauthenticated("the credential is too long, or no ASCII text")
            if proof is None:
                raise Unauthenticated("this hub does not take credentials of that kind")
            return await proof.prove(credential, via=via, peer=peer)
        except Unauthenticated:
            self._good.pop(digest, None)
            self._count_failure(peer)
            raise

    def _proof_of(self, credential: str) -> Proof | None:
        if credential.startswith(PREFIX):
            return self._tokens
        if self._sessions is not None and self._sessions.is_own(credential):
            return self._sessions
        return self._jwts

    def _count_failure(self, peer: str) -> None:
        try:
            self._attempts.fail(peer)
        except RateLimited:
            return  # this one is told what was wrong with it; the next is not looked at

    def _remembered(self, key: tuple[bytes, str, str]) -> Principal | None:
        principal, until = self._proved.get(key, (None, 0.0))
        if principal is None or until <= self._clock.monotonic():
            return None
        if principal.expires_at is not None and principal.expires_at <= self._clock.time():
            return None
        return principal

    def _remember(self, key: tuple[bytes, str, str], principal: Principal) -> None:
        self._proved.pop(key, None)
        self._proved[key] = principal, self._clock.monotonic() + REMEMBERED_SECONDS
        self._good[key[0]] = None
        _forget_the_oldest(self._proved)
        _forget_the_oldest(self._good)

    async def lost(self, callers: Collection[Principal]) -> set[str]:
        credentials = {caller.credential for caller in callers}
        tokens = {one.removeprefix(TOKEN) for one in credentials if one.startswith(TOKEN)}
        jtis = {one.removeprefix(JWT) for one in credentials if one.startswith(JWT)}
        lost: set[str] = set()
        if tokens:
            there = await self._store.get_many(Kind.TOKEN, tokens)
            lost |= {TOKEN + one for one in tokens - there.keys()}
        if jtis:
            lost |= {JWT + one for one in await self._store.get_many(Kind.REVOKED, jtis)}
        if self._sessions is not None:
            lost |= await self._sessions.lost(credentials)
        return lost


def _forget_the_oldest(memory: dict[T, Any]) -> None:
    if len(memory) > REMEMBERED:
        del memory[next(iter(memory))]

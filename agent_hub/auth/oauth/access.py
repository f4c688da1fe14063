"""The tokens of a session: access tokens that prove a caller, refresh tokens that renew them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

import jwt
import msgspec
from mcp.shared.auth import OAuthToken
from msgspec import Struct

from agent_hub.auth.oauth.sessions import IDLE_SECONDS, Session, Sessions
from agent_hub.auth.oauth.signing_keys import KID_PREFIX, SigningKeys
from agent_hub.auth.oauth.where import Where, resource_of
from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.audit import DONE, Audit, Record
from agent_hub.core.clock import Clock
from agent_hub.core.errors import Unauthenticated
from agent_hub.core.principal import Principal

ACCESS = "at+jwt"
REFRESH = "rt+jwt"
"""The types keep one from being taken for the other (RFC 8725, 3.11)."""

ACCESS_SECONDS = 900.0
REFRESH_SECONDS = ACCESS_SECONDS + IDLE_SECONDS
"""A session that is used is renewed before its access token ends, so that an older refresh token
belongs to a session that is over."""

SLACK_SECONDS = 60.0
"""A mark on a token outlives it, whichever of two clocks goes ahead."""

CREDENTIAL = "oauth:"


class Claims(Struct, frozen=True):
    """What is in both kinds of token. `exp` is wall time; `scope` words in one string."""

    iss: str
    aud: str
    sub: str
    client_id: str
    agent: str
    scope: str
    sid: str
    jti: str
    iat: int
    exp: int


class Access:
    """Gives tokens out for sessions, and judges them."""

    def __init__(
        self,
        keys: SigningKeys,
        sessions: Sessions,
        store: CredentialStore,
        clock: Clock,
        where: Where,
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._keys = keys
        self._sessions = sessions
        self._store = store
        self._clock = clock
        self._where = where

    async def give(self, session: Session, base: str, scopes: Iterable[str]) -> OAuthToken:
        """A new pair of tokens for a session, of the issuer `base`."""
        scope = " ".join(sorted(scopes))
        whole = " ".join(session.scopes)
        return OAuthToken(
            access_token=await self._sign(session, base, ACCESS, scope, ACCESS_SECONDS),
            expires_in=int(ACCESS_SECONDS),
            scope=scope,
            # What a client asks to have less of once, it may have again the next time.
            refresh_token=await self._sign(session, base, REFRESH, whole, REFRESH_SECONDS),
        )

    async def _sign(
        self, session: Session, base: str, kind: str, scope: str, lifetime: float
    ) -> str:
        now = self._clock.time()
        claims = Claims(
            iss=base,
            aud=resource_of(base) if kind == ACCESS else base,
            sub=session.subject,
            client_id=session.client_id,
            agent=session.agent,
            scope=scope,
            sid=session.id,
            jti=secrets.token_hex(12),
            iat=int(now),
            exp=int(now + lifetime),
        )
        return await self._keys.sign(msgspec.to_builtins(claims), kind)

    # --- judging --------------------------------------------------------------------------

    def is_own(self, credential: str) -> bool:
        """Whether it says that this hub signed it; whether it did is for `prove`."""
        try:
            kid = jwt.get_unverified_header(credential).get("kid")
        except jwt.PyJWTError:
            return False
        return isinstance(kid, str) and kid.startswith(KID_PREFIX)

    async def prove(self, credential: str, *, via: str, peer: str) -> Principal:
        """The principal of an access token, whose session's hour begins anew.

        Raises Unauthenticated.
        """
        claims = await self.read(credential, ACCESS)
        await self._check_not_revoked(claims)
        if await self._sessions.use(claims.sid) is None:
            raise Unauthenticated("the session is over: sign in again")
        return Principal(
            via=via,
            peer=peer,
            agents=frozenset({claims.agent}),
            subject=claims.sub,
            scopes=frozenset(claims.scope.split()),
            credential=f"{CREDENTIAL}{claims.sid}.{claims.jti}",
            expires_at=float(claims.exp),
        )

    async def read(self, token: str, kind: str) -> Claims:
        """What a token of the hub says, if it has not expired. Raises Unauthenticated."""
        claims = _claims(await self._keys.verify(token, kind))
        if not self._where.is_own(claims.iss):
            raise Unauthenticated("the token is of another issuer")
        if claims.aud != (resource_of(claims.iss) if kind == ACCESS else claims.iss):
            raise Unauthenticated("the token is for another audience")
        if claims.exp <= self._clock.time():
            raise Unauthenticated("the token has expired")
        return claims

    async def _check_not_revoked(self, claims: Claims) -> None:
        if await self._store.get(Kind.REVOKED, claims.jti) is not None:
            raise Unauthenticated("the token was revoked")

    async def lost(self, credentials: Iterable[str]) -> set[str]:
        """Those of these whose session is over, or that were revoked, by `Principal.credential`."""
        own = [one for one in credentials if one.startswith(CREDENTIAL)]
        if not own:
            return set()
        parts = {one: one.removeprefix(CREDENTIAL).split(".") for one in own}
        sessions = {session for session, _ in parts.values()}
        standing = await self._store.get_many(Kind.SESSION, sessions)
        revoked = await self._store.get_many(Kind.REVOKED, {jti for _, jti in parts.values()})
        return {one for one, (sid, jti) in parts.items() if sid not in standing or jti in revoked}

    # --- the end --------------------------------------------------------------------------

    async def spend(self, claims: Claims) -> bool:
        """Use a refresh token up. False when that was done before; then its family dies."""
        fresh = await self._store.put(
            Kind.SPENT,
            claims.jti,
            claims.sid.encode(),
            expires_at=claims.exp + SLACK_SECONDS,
            only_new=True,
        )
        if not fresh:
            await self._end(claims, "replay")
        return fresh

    async def revoke(self, claims: Claims) -> None:
        """End a token, now, and with it its session (RFC 7009, 2.1)."""
        await self._store.put(Kind.REVOKED, claims.jti, b"", expires_at=claims.exp + SLACK_SECONDS)
        await self._end(claims, "revoke")

    async def _end(self, claims: Claims, action: str) -> None:
        await self._sessions.end(claims.sid)
        self._audit.record(
            Record(
                action=action,
                outcome=DONE,
                subject=claims.sub,
                credential=f"{CREDENTIAL}{claims.sid}.{claims.jti}",
                agent=claims.agent,
            )
        )


def _claims(found: dict[str, Any]) -> Claims:
    try:
        return msgspec.convert(found, Claims)
    except msgspec.ValidationError as error:
        raise Unauthenticated("the token lacks a claim") from error

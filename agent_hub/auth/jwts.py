"""JSON Web Tokens of one outside issuer (RFC 7519, RFC 9068), as strict as RFC 8725 asks.

PyJWT reads the form and verifies the signature. What it leaves to its caller is decided here:
which headers may be there at all, which key may be asked, and what the claims have to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jwt

from agent_hub.auth.claims import MAX_TEXT_CHARACTERS, moment, text
from agent_hub.auth.key_set import KeySet
from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.clock import Clock
from agent_hub.core.errors import Invalid, Unauthenticated
from agent_hub.core.principal import Principal, Scope, check_agents

ALGORITHMS = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""All that can be allowed: those with a public key. A shared one would prove nothing of who."""

TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})
HEADERS = frozenset({"alg", "typ", "kid", "cty", "x5t", "x5t#S256"})
"""Any other is refused, so that nothing can name a key of its own (jwk, jku, x5u, x5c) or ask for
what is not understood (crit, b64, zip)."""

NOT_READABLE = (jwt.PyJWTError, ValueError, RecursionError)
"""The last two are json's: a number without end, brackets without end."""

LEEWAY_SECONDS = 30.0
MAX_AGENTS = 64
CHECKED_HERE = {
    "require": ["exp", "iss", "aud", "sub"],
    "strict_aud": True,
    "enforce_minimum_key_length": True,
    # On the hub's own clock, below.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


class Jwts:
    """Proves callers by the tokens of one issuer.

    `agents_claim` names the claim with the agent id, or a list of them; `scope_claim` the one with
    the scopes, a list or words in one string. Foreign scopes are passed over; who has none of the
    hub's may do nothing.
    """

    def __init__(
        self,
        keys: KeySet,
        store: CredentialStore,
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        algorithms: tuple[str, ...],
        agents_claim: str = "agent",
        scope_claim: str = "scope",
    ) -> None:
        self._keys = keys
        self._store = store
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._algorithms = algorithms
        self._agents_claim = agents_claim
        self._scope_claim = scope_claim

    def read_again(self) -> None:
        """Ask for the issuer's keys anew."""
        self._keys.read_again()

    async def prove(self, credential: str, *, via: str, peer: str) -> Principal:
        """The principal of a token. Raises Unauthenticated."""
        algorithm, kid = self._headers(credential)
        key = await self._keys.key(kid, algorithm)
        claims = self._claims(credential, key, algorithm)
        self._check_times(claims)
        jti = text(claims, "jti") if "jti" in claims else None
        if jti is not None and await self._store.get(Kind.REVOKED, jti) is not None:
            raise Unauthenticated("the token was revoked")
        return Principal(
            via=via,
            peer=peer,
            agents=self._agents(claims),
            subject=f"jwt:{self._issuer} {text(claims, 'sub')}",
            scopes=self._scopes(claims),
            credential=f"jwt:{jti}" if jti is not None else f"jwt of {text(claims, 'sub')}",
            expires_at=float(claims["exp"]) + LEEWAY_SECONDS,
        )

    def _headers(self, credential: str) -> tuple[str, str | None]:
        """The algorithm and the key's name, once nothing else is in the header."""
        try:
            headers = jwt.get_unverified_header(credential)
        except NOT_READABLE as error:
            raise Unauthenticated("the token is no signed JWT") from error
        if foreign := sorted(set(headers) - HEADERS):
            raise Unauthenticated(f"a token with the header {foreign[0][:32]!r} is not accepted")
        if str(headers.get("typ", "")).lower() not in TYPES:
            raise Unauthenticated("the token's type is neither at+jwt nor JWT")
        algorithm, kid = headers.get("alg"), headers.get("kid")
        if algorithm not in self._algorithms:
            raise Unauthenticated("the token's algorithm is not one of those that are allowed")
        if kid is not None and not (isinstance(kid, str) and len(kid) <= MAX_TEXT_CHARACTERS):
            raise Unauthenticated("the token's key id is not a text")
        return algorithm, kid

    def _claims(self, credential: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        try:
            return jwt.decode(
                credential,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                options=CHECKED_HERE,  # type: ignore[arg-type]
            )
        except jwt.InvalidAudienceError as error:
            raise Unauthenticated("the token is not for this hub alone") from error
        except jwt.InvalidIssuerError as error:
            raise Unauthenticated("the token is of another issuer") from error
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"the token lacks the claim {error.claim!r}") from error
        except NOT_READABLE as error:
            raise Unauthenticated("the token's signature or form is not good") from error

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.time()
        if moment(claims, "exp") + LEEWAY_SECONDS <= now:
            raise Unauthenticated("the token has expired")
        for name in ("nbf", "iat"):
            if name in claims and moment(claims, name) - LEEWAY_SECONDS > now:
                raise Unauthenticated("the token is not valid yet")

    def _agents(self, claims: Mapping[str, Any]) -> frozenset[str]:
        named = claims.get(self._agents_claim, [])
        listed = [named] if isinstance(named, str) else named
        if not isinstance(listed, list) or len(listed) > MAX_AGENTS:
            raise Unauthenticated(f"the claim {self._agents_claim!r} is no agent id, nor a list")
        if not all(isinstance(one, str) for one in listed):
            raise Unauthenticated(f"the claim {self._agents_claim!r} is no agent id, nor a list")
        try:
            return check_agents(listed, self._agents_claim)
        except Invalid as error:
            raise Unauthenticated(f"the claim {self._agents_claim!r} names no agent") from error

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        given = claims.get(self._scope_claim, "")
        words = given.split() if isinstance(given, str) else given
        if not isinstance(words, list):
            raise Unauthenticated(f"the claim {self._scope_claim!r} is no list of scopes")
        return frozenset(scope for scope in Scope if scope in words)

"""An outside OpenID provider, asked who a person is (OpenID Connect Core 1.0, code flow).

The hub is its client: it sends the browser there, takes the code, and believes what the signed ID
token says, if that token is for this hub and for this one sign-in.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import jwt
from msgspec import Struct

from agent_hub.auth.claims import moment, text
from agent_hub.auth.fetching import decoded, fetch
from agent_hub.auth.jwts import ALGORITHMS
from agent_hub.auth.key_set import KeySet, source
from agent_hub.core.clock import Clock
from agent_hub.core.errors import BackendUnavailable, Unauthenticated
from agent_hub.core.network import is_safe

CALLBACK_PATH = "/oauth/callback"
SCOPE = "openid email profile"
DISCOVERY = "/.well-known/openid-configuration"
FRESH_SECONDS = 3_600.0
LEEWAY_SECONDS = 60.0
MAX_AGE_SECONDS = 600.0
"""How old an ID token may be: it was made while the person was there."""
ANYBODY = "*"
BASIC = "client_secret_basic"

CHECKED_HERE: Any = {
    "require": ["exp", "iat", "iss", "aud", "sub"],
    "enforce_minimum_key_length": True,
    "verify_aud": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


T = TypeVar("T")


class NotAllowed(Exception):
    """The provider knows the person, and the hub's operator does not let them in."""


class Person(Struct, frozen=True):
    """`subject` is who it is, for good; `name` how to call them."""

    subject: str
    name: str


class _Provider(Struct, frozen=True, rename=None):
    """What the provider says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = (BASIC,)
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(Struct, frozen=True):
    id_token: str
    access_token: str | None = None


class OutsideProvider:
    """`allowed` says who may come in: addresses, `@domain`s, `sub:…`, or `*` for all."""

    def __init__(
        self,
        clock: Clock,
        *,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        allowed: tuple[str, ...],
    ) -> None:
        self._clock = clock
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._allowed = frozenset(one.lower() if "@" in one else one for one in allowed)
        self._found: _Provider | None = None
        self._found_at = float("-inf")
        self._keys: KeySet | None = None

    @property
    def host(self) -> str:
        """How the page names it."""
        return urlsplit(self._issuer).netloc

    @property
    def issuer(self) -> str:
        return self._issuer

    # --- the way there --------------------------------------------------------------------

    async def address(self, base: str, *, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser. Raises BackendUnavailable."""
        provider = await self._provider()
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": base + CALLBACK_PATH,
            "scope": SCOPE,
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in provider.authorization_endpoint else "?"
        return provider.authorization_endpoint + joint + urlencode(query)

    async def _provider(self) -> _Provider:
        if self._clock.monotonic() - self._found_at >= FRESH_SECONDS:
            found = await self._ask("GET", self._issuer.removesuffix("/") + DISCOVERY, _Provider)
            if found.issuer != self._issuer:
                raise _away("it says that it is another issuer")
            for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                _check_address(address)
            if self._found is None or self._found.jwks_uri != found.jwks_uri:
                self._keys = KeySet(source(found.jwks_uri), self._clock)
            self._found, self._found_at = found, self._clock.monotonic()
        assert self._found is not None
        return self._found

    # --- the way back ---------------------------------------------------------------------

    async def person(
        self, code: str, base: str, *, issuer: str | None, nonce: str, verifier: str
    ) -> Person:
        """Who came back with this code; `issuer` is who the answer said it came from.

        Raises Unauthenticated for what proves nobody, NotAllowed, BackendUnavailable.
        """
        provider = await self._provider()
        if issuer is None and provider.authorization_response_iss_parameter_supported:
            raise Unauthenticated("the identity provider's answer does not say whose it is")
        if issuer is not None and issuer != provider.issuer:
            raise Unauthenticated("the answer is of another identity provider")  # RFC 9207, 2.4
        tokens = await self._exchange(provider, code, base, verifier)
        claims = await self._claims(tokens.id_token, nonce)
        if self._needs_address and "email" not in claims:
            claims = {**await self._more(provider, tokens, str(claims["sub"])), **claims}
        return self._admit(claims)

    async def _exchange(self, provider: _Provider, code: str, base: str, verifier: str) -> _Tokens:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": base + CALLBACK_PATH,
            "code_verifier": verifier,
        }
        headers = {}
        if self._client_secret is None:
            form["client_id"] = self._client_id
        elif BASIC in provider.token_endpoint_auth_methods_supported:
            both = f"{quote(self._client_id, safe='')}:{quote(self._client_secret, safe='')}"
            headers["Authorization"] = "Basic " + base64.b64encode(both.encode()).decode()
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        return await self._ask("POST", provider.token_endpoint, _Tokens, data=form, headers=headers)

    async def _claims(self, id_token: str, nonce: str) -> dict[str, Any]:
        """What an ID token says (Core, 3.1.3.7). Raises Unauthenticated."""
        try:
            headers = jwt.get_unverified_header(id_token)
        except jwt.PyJWTError as error:
            raise Unauthenticated("the ID token is no signed JWT") from error
        algorithm, kid = headers.get("alg"), headers.get("kid")
        if algorithm not in ALGORITHMS or "crit" in headers:
            raise Unauthenticated("the ID token's algorithm is not one of those that are allowed")
        assert self._keys is not None
        key = await self._keys.key(kid if isinstance(kid, str) else None, algorithm)
        try:
            claims = jwt.decode(
                id_token, key, algorithms=[algorithm], issuer=self._issuer, options=CHECKED_HERE
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated(f"the ID token is not good: {type(error).__name__}") from error
        self._check(claims, nonce)
        return claims

    def _check(self, claims: Mapping[str, Any], nonce: str) -> None:
        audience = claims["aud"]
        audiences = [audience] if isinstance(audience, str) else audience
        if not isinstance(audiences, list) or self._client_id not in audiences:
            raise Unauthenticated("the ID token is for another client")
        if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != self._client_id:
            raise Unauthenticated("the ID token was given to another client")
        if "nonce" not in claims or text(claims, "nonce") != nonce:
            raise Unauthenticated("the ID token belongs to another sign-in")
        now = self._clock.time()
        if not now - LEEWAY_SECONDS < moment(claims, "exp"):
            raise Unauthenticated("the ID token has expired")
        if not now - MAX_AGE_SECONDS < moment(claims, "iat") < now + LEEWAY_SECONDS:
            raise Unauthenticated("the ID token was not made now")

    @property
    def _needs_address(self) -> bool:
        return any("@" in one for one in self._allowed)

    async def _more(self, provider: _Provider, tokens: _Tokens, subject: str) -> dict[str, Any]:
        """What some providers say only when asked again (Core, 5.3)."""
        if provider.userinfo_endpoint is None or tokens.access_token is None:
            return {}
        _check_address(provider.userinfo_endpoint)
        headers = {"Authorization": f"Bearer {tokens.access_token}"}
        more = await self._ask("GET", provider.userinfo_endpoint, dict[str, Any], headers=headers)
        return more if more.get("sub") == subject else {}

    def _admit(self, claims: Mapping[str, Any]) -> Person:
        subject, address = text(claims, "sub"), claims.get("email")
        verified = claims.get("email_verified") in (True, "true")
        is_one = isinstance(address, str) and address.count("@") == 1
        known = str(address).lower() if is_one and verified else None
        if not self._is_allowed(subject, known):
            raise NotAllowed("this hub's operator has not let you in")
        return Person(f"oidc:{self._issuer} {subject}", known or subject)

    def _is_allowed(self, subject: str, address: str | None) -> bool:
        names = {ANYBODY, f"sub:{subject}"}
        if address is not None:
            names |= {address, "@" + address.rpartition("@")[2]}
        return not names.isdisjoint(self._allowed)

    # --- HTTP -----------------------------------------------------------------------------

    async def _ask(self, method: str, url: str, shape: type[T], **more: Any) -> T:
        """A JSON answer as a type. Raises BackendUnavailable; Unauthenticated for a refusal."""
        try:
            status, body = await fetch(method, url, **more)
        except (aiohttp.ClientError, OSError) as error:
            raise _away(type(error).__name__) from error
        if 400 <= status < 500:
            raise Unauthenticated(f"the identity provider refused: {status}")
        if status != 200:
            raise _away(f"it answered {status}")
        try:
            return decoded(body, shape)
        except ValueError as error:
            raise _away("its answer is not as it should be") from error


def _check_address(url: str) -> None:
    """Raise BackendUnavailable for an address by which secrets would go in the clear."""
    if not is_safe(url):
        raise _away("it names an address that is not https")


def _away(why: str) -> BackendUnavailable:
    return BackendUnavailable(f"the identity provider cannot be asked: {why}", retry_after=5.0)

"""The keys that sign the hub's own tokens: made at the first start, kept in the store, rotated.

All nodes sign with the newest key, and take what any kept key signed. Two nodes that start on an
empty store at the same moment make two keys; both are kept, and no harm is done.

With a secret key that lies elsewhere they are kept sealed: whoever reads the store alone cannot
sign with them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from msgspec import Struct
from msgspec.structs import replace

from agent_hub.auth import sealed
from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.clock import Clock
from agent_hub.core.errors import BackendUnavailable, Unauthenticated

ALGORITHMS = ("ES256", "EdDSA", "RS256", "HS256")
SHARED = "HS256"
"""Signs and verifies with one secret, so that there is no public key to show."""

KID_PREFIX = "hub-"
OVERLAP_SECONDS = 86_400.0
"""How long a key that was rotated out still verifies: far longer than any token lives."""
FRESH_SECONDS = 30.0
PAUSE_SECONDS = 1.0
"""Between two readings for names that are not known."""
RSA_BITS = 2048
SHARED_BYTES = 32
STEP_SECONDS = 0.001
"""The newest key is the one that signs, also if a clock stands or was set back."""
SEALED = "AGENT_HUB_SECRET_KEY must hold the key that seals them"


class SigningKey(Struct, frozen=True):
    """`secret` is a PEM, or for a shared key its hexadecimal digits; either may be sealed.

    `made_at` is wall time.
    """

    kid: str
    algorithm: str
    secret: str
    made_at: float


class SigningKeys:
    """Signs and verifies. `algorithm` is that of a key made from now on.

    `secret_key` seals what is kept, with what is there already from the next `open` on; empty for
    none.
    """

    def __init__(
        self,
        store: CredentialStore,
        clock: Clock,
        algorithm: str = "ES256",
        *,
        secret_key: str = "",
    ) -> None:
        self._store = store
        self._clock = clock
        self._algorithm = algorithm
        self._secret_key = secret_key
        self._keys: list[SigningKey] = []
        self._loaded: dict[str, Any] = {}
        self._read_at = float("-inf")

    async def open(self) -> None:
        """Have a key of the algorithm that is set; make it if there is none.

        Raises BackendUnavailable, also when it was sealed with another secret key.
        """
        await self._read()
        if not self._of_algorithm():
            await self._make(self._algorithm)
        self._signing(self._of_algorithm()[-1])
        await self._seal_all()

    def _of_algorithm(self) -> list[SigningKey]:
        return [key for key in self._keys if key.algorithm == self._algorithm]

    async def rotate(self) -> str:
        """Sign with a new key of the same algorithm from now on; its name.

        The old ones verify for OVERLAP_SECONDS.
        """
        await self._read()
        old = await self._store.entries(Kind.SIGNING_KEY)
        made = await self._make(self._keys[-1].algorithm if self._keys else self._algorithm)
        until = self._clock.time() + OVERLAP_SECONDS
        for entry in old:
            if (
                entry.expires_at is None
            ):  # else on its way out: a later rotation does not prolong it
                await self._store.put(
                    Kind.SIGNING_KEY, entry.key, entry.value, expires_at=until, only_known=True
                )
        return made.kid

    async def _make(self, algorithm: str) -> SigningKey:
        newest = max((key.made_at for key in self._keys), default=0.0)
        key = SigningKey(
            kid=KID_PREFIX + secrets.token_hex(8),
            algorithm=algorithm,
            secret=self._sealed(_new_secret(algorithm)),
            made_at=max(self._clock.time(), newest + STEP_SECONDS),
        )
        await self._store.put(Kind.SIGNING_KEY, key.kid, msgspec.json.encode(key))
        await self._read()
        return key

    async def _read(self) -> None:
        entries = await self._store.entries(Kind.SIGNING_KEY)
        keys = (msgspec.json.decode(entry.value, type=SigningKey) for entry in entries)
        self._keys = sorted(keys, key=lambda key: (key.made_at, key.kid))
        self._read_at = self._clock.monotonic()

    async def _refresh(self, patience: float) -> None:
        if self._clock.monotonic() - self._read_at >= patience:
            await self._read()

    # --- use ------------------------------------------------------------------------------

    async def sign(self, claims: Mapping[str, Any], kind: str) -> str:
        """A JWT of the type `kind`."""
        await self._refresh(FRESH_SECONDS)
        if not self._of_algorithm():  # somebody emptied the store
            await self._make(self._algorithm)
        key = self._of_algorithm()[-1]
        headers = {"typ": kind, "kid": key.kid}
        return jwt.encode(
            dict(claims), self._signing(key), algorithm=key.algorithm, headers=headers
        )

    async def verify(self, token: str, kind: str) -> dict[str, Any]:
        """The claims of a JWT of the type `kind`, signed by a key of this hub.

        Raises Unauthenticated. Whether it has expired is for the caller to say.
        """
        try:
            headers = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise Unauthenticated("this is no token of this hub") from error
        if set(headers) != {"alg", "typ", "kid"} or headers["typ"] != kind:
            raise Unauthenticated("the token is of another type")
        key = await self._find(str(headers["kid"]))
        return self._claims(token, key)

    def _claims(self, token: str, key: SigningKey) -> dict[str, Any]:
        try:
            return jwt.decode(
                token, self._public(key), algorithms=[key.algorithm], options=SIGNATURE_ALONE
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated("the token's signature or form is not good") from error

    async def _find(self, kid: str) -> SigningKey:
        await self._refresh(FRESH_SECONDS)
        key = self._named(kid)
        if key is None:
            await self._refresh(PAUSE_SECONDS)
            key = self._named(kid)
        if key is None:
            raise Unauthenticated("the token was signed with a key that this hub does not have")
        return key

    def _named(self, kid: str) -> SigningKey | None:
        return next((key for key in self._keys if key.kid == kid), None)

    def _signing(self, key: SigningKey) -> Any:
        try:
            return self._private(key)
        except sealed.NotOpened as error:
            raise BackendUnavailable(
                f"the key that signs tokens cannot be opened: {error}"
            ) from None

    def _private(self, key: SigningKey) -> Any:
        """Raises NotOpened for one that was sealed with another secret key."""
        if key.kid not in self._loaded:
            secret = self._opened(key.secret)
            self._loaded[key.kid] = (
                bytes.fromhex(secret)
                if key.algorithm == SHARED
                else load_pem_private_key(secret.encode(), None)
            )
        return self._loaded[key.kid]

    def _public(self, key: SigningKey) -> Any:
        private = self._private(key)
        return private if key.algorithm == SHARED else private.public_key()

    async def public(self) -> dict[str, Any]:
        """The keys that verify, as a JWK set (RFC 7517). A shared one is not shown."""
        await self._refresh(FRESH_SECONDS)
        shown = (key for key in self._keys if key.algorithm != SHARED and self._can_open(key))
        return {"keys": [self._jwk(key) for key in shown]}

    def _jwk(self, key: SigningKey) -> dict[str, Any]:
        to_jwk: Any = jwt.get_algorithm_by_name(key.algorithm).to_jwk
        shape = to_jwk(self._public(key), as_dict=True)
        return {**shape, "kid": key.kid, "alg": key.algorithm, "use": "sig"}

    # --- sealing --------------------------------------------------------------------------

    def _sealed(self, secret: str) -> str:
        if not self._secret_key:
            if any(sealed.is_sealed(key.secret) for key in self._keys):
                raise BackendUnavailable(f"the keys that sign tokens are sealed; {SEALED}")
            return secret
        try:
            return sealed.seal(secret, self._secret_key)
        except sealed.NotOpened as error:
            raise BackendUnavailable(f"AGENT_HUB_SECRET_KEY: {error}") from None

    def _opened(self, secret: str) -> str:
        if not sealed.is_sealed(secret):
            return secret
        if not self._secret_key:
            raise sealed.NotOpened(SEALED)
        return sealed.unseal(secret, self._secret_key)

    def _can_open(self, key: SigningKey) -> bool:
        try:
            self._private(key)
        except sealed.NotOpened:
            return False
        return True

    async def _seal_all(self) -> None:
        """Those from before there was a secret key."""
        if not self._secret_key:
            return
        for entry in await self._store.entries(Kind.SIGNING_KEY):
            key = msgspec.json.decode(entry.value, type=SigningKey)
            if not sealed.is_sealed(key.secret):
                whole = msgspec.json.encode(replace(key, secret=self._sealed(key.secret)))
                await self._store.put(
                    Kind.SIGNING_KEY,
                    entry.key,
                    whole,
                    expires_at=entry.expires_at,
                    only_known=True,
                )


SIGNATURE_ALONE: Any = {
    "verify_signature": True,
    "enforce_minimum_key_length": True,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
    # On the hub's own clock.
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
}


def _new_secret(algorithm: str) -> str:
    if algorithm == SHARED:
        return secrets.token_hex(SHARED_BYTES)
    whole = _new_pair(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return whole.decode()


def _new_pair(
    algorithm: str,
) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)

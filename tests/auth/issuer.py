"""An outside issuer, and somebody who would like to be it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://issuer.example"
AUDIENCE = "https://hub.example"
ALGORITHMS = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA"}
SCOPES = "agent:register message:send message:read message:broadcast agents:list"


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


class Issuer:
    """Three keys, by name. `now` is the wall clock of its tokens."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.keys: dict[str, Any] = {
            "rsa": rsa_key(),
            "ec": ec.generate_private_key(ec.SECP256R1()),
            "ed": ed25519.Ed25519PrivateKey.generate(),
        }
        self.fetches = 0

    def jwk(self, kid: str, **more: Any) -> dict[str, Any]:
        family = jwt.get_algorithm_by_name(ALGORITHMS.get(kid, "RS256"))
        public = family.to_jwk(self.keys[kid].public_key(), as_dict=True)
        return {**public, "kid": kid, **more}

    async def fetch(self) -> bytes:
        self.fetches += 1
        return json.dumps({"keys": [self.jwk(kid) for kid in self.keys]}).encode()

    def claims(self, **more: Any) -> dict[str, Any]:
        """What a good token says; None takes a claim away."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "beta's person",
            "exp": int(self.now) + 600,
            "iat": int(self.now),
            "jti": "token-1",
            "agent": "beta",
            "scope": SCOPES,
            **more,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(
        self, key: str = "rsa", *, headers: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token with a good signature, whatever it says."""
        whole = {"typ": "at+jwt", "kid": key, **(headers or {})}
        whole = {name: value for name, value in whole.items() if value is not None}
        algorithm = whole.pop("alg", ALGORITHMS[key])
        signer = jwt.PyJWS()
        payload = json.dumps(self.claims(**claims)).encode()
        if "typ" not in whole:
            return _signed_without_type(signer, payload, self.keys[key], algorithm, whole)
        return signer.encode(payload, self.keys[key], algorithm, headers=whole)

    def public_pem(self, kid: str) -> bytes:
        key = self.keys[kid].public_key()
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        assert isinstance(pem, bytes)
        return pem


def _signed_without_type(
    signer: jwt.PyJWS, payload: bytes, key: Any, algorithm: str, headers: dict[str, Any]
) -> str:
    """PyJWT writes a type by itself unless told to leave it empty."""
    return signer.encode(payload, key, algorithm, headers={**headers, "typ": ""})


def raw(header: Any, claims: Any, signature: bytes = b"") -> str:
    """Three parts, whatever they are."""
    parts = (header, claims, signature)
    written = (one if isinstance(one, bytes) else json.dumps(one).encode() for one in parts)
    return ".".join(_text(part) for part in written)


def signed_with_a_secret(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """As HS256 does, with anything for a secret."""
    unsigned = raw(header, claims).rpartition(".")[0]
    digest = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{_text(digest)}"


def _text(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()

"""Secrets that may lie in a settings file: AES-256-GCM, with a key that lies elsewhere.

That keeps them from backups, logs and screens, not from whoever reads both places.
"""

from __future__ import annotations

import base64
import binascii
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PREFIX = "enc:v1:"
KEY_BYTES = 32
NONCE_BYTES = 12
BOUND_TO = b"agent-hub secret v1"
"""Authenticated with each: what another program sealed with the same key does not open here."""


class NotOpened(ValueError):
    """A key or a sealed secret that is none. The text shows neither."""


def new_key() -> str:
    """A key, as text."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def is_sealed(text: str) -> bool:
    return text.startswith(PREFIX)


def seal(secret: str, key: str) -> str:
    """The secret, for nobody without the key. Another text each time. Raises NotOpened."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(_key(key)).encrypt(nonce, secret.encode(), BOUND_TO)
    return PREFIX + base64.urlsafe_b64encode(nonce + sealed).decode()


def unseal(text: str, key: str) -> str:
    """The secret in what `seal` made. Raises NotOpened."""
    try:
        whole = _decoded(text.removeprefix(PREFIX))
        nonce, sealed = whole[:NONCE_BYTES], whole[NONCE_BYTES:]
        return AESGCM(_key(key)).decrypt(nonce, sealed, BOUND_TO).decode()
    except (InvalidTag, ValueError) as error:
        if isinstance(error, NotOpened):
            raise
        raise NotOpened("the sealed secret was made with another key, or was changed") from None


def _key(text: str) -> bytes:
    try:
        key = _decoded(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise NotOpened("the key is not one that `agent-hub secret key` made")
    return key


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error

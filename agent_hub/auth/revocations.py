"""Which outside tokens are no good any more, though they have not expired."""

from __future__ import annotations

from agent_hub.auth.store import CredentialStore, Kind
from agent_hub.core.errors import Invalid

MAX_JTI_CHARACTERS = 512


class Revocations:
    """By `jti`, the name that an issuer gives to one token (RFC 7519, 4.1.7).

    They are kept for ever unless told otherwise: how long an issuer lets its tokens live is not
    known here, and one that came back to life would be worse than some bytes.
    """

    def __init__(self, store: CredentialStore) -> None:
        self._store = store

    async def revoke(self, jti: str, *, until: float | None = None) -> None:
        """`until` is wall time. Raises Invalid for what cannot be such a name."""
        if not 0 < len(jti) <= MAX_JTI_CHARACTERS:
            raise Invalid.at("--jti", f"1 to {MAX_JTI_CHARACTERS} characters")
        await self._store.put(Kind.REVOKED, jti, b"", expires_at=until)

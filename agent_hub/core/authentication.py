"""How the doors learn who calls: what an authenticator must do. The proofs are in `auth/`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from agent_hub.core.principal import Principal


class Authentication(Protocol):
    """Turns a credential into the caller that it proves."""

    async def authenticate(self, credential: str, *, via: str, peer: str) -> Principal:
        """Who shows this credential, at the door `via`, from the address `peer`.

        Raises Unauthenticated for one that proves nothing, RateLimited for an address with too
        many of those, BackendUnavailable when it cannot be judged now.
        """
        ...

    async def lost(self, callers: Collection[Principal]) -> set[str]:
        """The credentials of these that were revoked meanwhile, by `Principal.credential`.

        Raises BackendUnavailable. Their expiry is not asked for: whoever asks knows it.
        """
        ...

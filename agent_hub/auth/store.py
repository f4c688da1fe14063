"""Where what must outlive a process is kept: an interface of four calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from enum import StrEnum

from msgspec import Struct


class Kind(StrEnum):
    """What is kept. Each kind is a name space of its own."""

    TOKEN = "token"  # nosec B105
    REVOKED = "revoked"
    SIGNING_KEY = "signing_key"
    LOGIN_CODE = "login_code"
    CLIENT = "client"
    REQUEST = "request"
    CODE = "code"
    SESSION = "session"
    SPENT = "spent"


class Entry(Struct, frozen=True):
    """`expires_at` is wall time; None for what stays."""

    key: str
    value: bytes
    expires_at: float | None = None


class CredentialStore(ABC):
    """Small entries by kind and key, each with an end if it has one.

    An entry is not there any more from the moment at which it expires, whether or not its room
    was freed. What one process writes, every other sees with its next call. Every call may raise
    BackendUnavailable.
    """

    async def open(self) -> None:
        """Make ready; called once, before any other call."""
        return

    async def close(self) -> None:
        """Let go; nothing is called afterwards."""
        return

    async def get(self, kind: Kind, key: str) -> bytes | None:
        """The value of an entry; None when there is none."""
        return (await self.get_many(kind, (key,))).get(key)

    @abstractmethod
    async def get_many(self, kind: Kind, keys: Collection[str]) -> Mapping[str, bytes]:
        """The values of those entries that there are."""

    @abstractmethod
    async def put(
        self,
        kind: Kind,
        key: str,
        value: bytes,
        *,
        expires_at: float | None = None,
        only_new: bool = False,
        only_known: bool = False,
    ) -> bool:
        """Write an entry. With `only_new` one that is there stays as it is: False.

        With `only_known` one that is not there is not made: False, and what somebody deleted
        stays so, whoever was about to write it anew.
        """

    @abstractmethod
    async def delete(self, kind: Kind, key: str) -> bool:
        """Remove an entry. True for the one caller that removed it: what may be used once."""

    @abstractmethod
    async def entries(self, kind: Kind) -> list[Entry]:
        """All entries of a kind, by key."""

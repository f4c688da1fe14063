"""Credentials in a SQLite file that the hub and the command line have open side by side."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import TypeVar

from agent_hub.auth.store import CredentialStore, Entry, Kind
from agent_hub.core.errors import BackendUnavailable

APPLICATION_ID = 0x41484352  # "AHCR"
SCHEMA = "sqlite_store.sql"
VERSION = 1
BUSY_SECONDS = 5.0
RETRY_SECONDS = 1.0

# An entry that has expired is not there, though it may still stand in the file.
MANY = (
    "SELECT key, value FROM entries WHERE kind = ? AND (expires_at IS NULL OR expires_at > ?)"
    " AND key IN (SELECT value FROM json_each(?))"
)
ALL = (
    "SELECT key, value, expires_at FROM entries"
    " WHERE kind = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY key"
)
DELETE = "DELETE FROM entries WHERE kind = ? AND (expires_at IS NULL OR expires_at > ?) AND key = ?"
NEW = "INSERT INTO entries VALUES (:kind, :key, :value, :expires_at) ON CONFLICT DO NOTHING"
ANY = (
    "INSERT INTO entries VALUES (:kind, :key, :value, :expires_at) ON CONFLICT DO"
    " UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
)
KNOWN = (
    "UPDATE entries SET value = :value, expires_at = :expires_at WHERE kind = :kind AND key = :key"
)

T = TypeVar("T")


class SqliteStore(CredentialStore):
    """Every call goes to the file, on a thread: what another process wrote is seen at once.

    `now` is the wall clock.
    """

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.path = path
        self._now = now
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Make the file, readable for its owner alone, or check it."""
        await self._on_thread(self._open)

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with _transaction(connection):  # of two processes that come first, one makes it
            if _number(connection, "SELECT count(*) FROM sqlite_schema") == 0:
                for statement in _statements():
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
        if _number(connection, "PRAGMA application_id") != APPLICATION_ID:
            raise BackendUnavailable(f"{self.path} holds no credentials of Agent Hub")
        if _number(connection, "PRAGMA user_version") > VERSION:
            raise BackendUnavailable(f"{self.path} was written by a newer Agent Hub")

    async def close(self) -> None:
        await self._on_thread(self._close)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def get_many(self, kind: Kind, keys: Collection[str]) -> Mapping[str, bytes]:
        asked = json.dumps(list(keys))
        return await self._on_thread(
            lambda: dict(self._execute(MANY, (kind, self._now(), asked)).fetchall())
        )

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
        statement = NEW if only_new else KNOWN if only_known else ANY
        return await self._on_thread(lambda: self._put(statement, kind, key, value, expires_at))

    def _put(
        self, statement: str, kind: Kind, key: str, value: bytes, expires_at: float | None
    ) -> bool:
        values: dict[str, object] = {
            "kind": kind,
            "key": key,
            "value": value,
            "expires_at": expires_at,
        }
        with _transaction(self._opened):
            self._execute("DELETE FROM entries WHERE expires_at <= ?", (self._now(),))
            written = self._execute(statement, values)
        return written.rowcount > 0

    async def delete(self, kind: Kind, key: str) -> bool:
        deleted = await self._on_thread(lambda: self._execute(DELETE, (kind, self._now(), key)))
        return deleted.rowcount > 0

    async def entries(self, kind: Kind) -> list[Entry]:
        def read() -> list[Entry]:
            return [Entry(*row) for row in self._execute(ALL, (kind, self._now()))]

        return await self._on_thread(read)

    # --- the connection -------------------------------------------------------------------

    @property
    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise BackendUnavailable("the credentials are closed", retry_after=RETRY_SECONDS)
        return self._connection

    def _execute(
        self, statement: str, values: tuple[object, ...] | dict[str, object]
    ) -> sqlite3.Cursor:
        return self._opened.execute(statement, values)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        """One at a time: a connection is no place for two. Shielded, so that a caller who leaves
        in the middle does not let the next one in.
        """

        def alone() -> T:
            with self._lock, _as_unavailable(self.path):
                return work()

        return await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(alone)))


def _statements() -> list[str]:
    script = files(__package__).joinpath(SCHEMA).read_text(encoding="utf-8")
    return [statement for statement in script.split(";") if statement.strip()]


def _number(connection: sqlite3.Connection, query: str) -> int:
    [number] = connection.execute(query).fetchone()
    return int(number)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _as_unavailable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackendUnavailable(f"{path}: {error.strerror}", retry_after=RETRY_SECONDS) from error
    except sqlite3.Error as error:
        raise BackendUnavailable(f"{path}: {error}", retry_after=RETRY_SECONDS) from error

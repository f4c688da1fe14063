"""The SQLite file that holds a journal: made, checked, read, written, set aside."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from agent_hub.core.errors import BackendUnavailable
from agent_hub.queue_backends.lock import FileLock
from agent_hub.queue_backends.records import Damaged

log = logging.getLogger(__name__)

Connect = Callable[..., sqlite3.Connection]

APPLICATION_ID = 0x41484A4C  # "AHJL"
MIGRATIONS = ("sqlite.sql",)
"""Each leads from the version that is its place here to the next one."""

SIDE_FILES = ("", "-wal", "-shm")
CHECKPOINT_PAGES = 4_000
BUSY_SECONDS = 5.0
DELETED_AT_ONCE = 256
NOT_READABLE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
)


class JournalFile:
    """Records by number. Every method blocks; one thread at a time may call them.

    `connect` is `sqlite3.connect`, or what a test puts in its place.
    """

    def __init__(self, path: Path, connect: Connect = sqlite3.connect) -> None:
        self.path = path
        self._connect = connect
        self._lock = FileLock(path)
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Make the file, or check it. Raises Damaged, or BackendUnavailable for what is no damage:
        another hub, no permission, a file of another program or of a newer hub.
        """
        with _as_unavailable(self.path):
            if self.path.exists() and not self.path.is_file():
                # A device that was set aside as damaged would be gone for everybody.
                raise BackendUnavailable(f"{self.path} is not a regular file")
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock.acquire()
            self._open()

    def _open(self) -> None:
        if not self.path.exists():
            self._create()
        if self.path.stat().st_size == 0:
            raise Damaged("the file is empty")
        self._connection = self._connected(self.path)
        with _damage_shown():
            self._check_version()
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._check_pages()

    def _create(self) -> None:
        """Under another name first: the file is there whole, or not at all."""
        log_left = self.path.with_name(self.path.name + "-wal")
        if log_left.exists() and log_left.stat().st_size:
            raise Damaged("there is a write-ahead log, but the file that it belongs to is gone")
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL, 0o600))  # mail is for its owner's eyes
        with closing(self._connected(new)) as connection:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            _migrate(connection, 0)
        new.replace(self.path)
        _sync_folder(self.path.parent)

    def _connected(self, path: Path) -> sqlite3.Connection:
        return self._connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
        )

    def _check_version(self) -> None:
        if self._number("PRAGMA application_id") != APPLICATION_ID:
            raise BackendUnavailable(f"{self.path} is a database, but not of Agent Hub")
        version = self._number("PRAGMA user_version")
        if version > len(MIGRATIONS):
            raise BackendUnavailable(
                f"{self.path} was written by a newer Agent Hub (version {version} of the file, "
                f"this one knows {len(MIGRATIONS)})"
            )
        if version < len(MIGRATIONS):
            log.info("migrating %s from version %d to %d", self.path, version, len(MIGRATIONS))
            _migrate(self._open_connection, version)

    def _check_pages(self) -> None:
        [fault] = self._open_connection.execute("PRAGMA integrity_check(1)").fetchone()
        if fault != "ok":
            raise Damaged(str(fault))

    @property
    def _open_connection(self) -> sqlite3.Connection:
        assert self._connection is not None, "the journal is not open"
        return self._connection

    def _number(self, query: str) -> int:
        [number] = self._open_connection.execute(query).fetchone()
        return int(number)

    # --- reading --------------------------------------------------------------------------

    def records(self) -> Iterator[tuple[int, bytes]]:
        """All records, oldest first. Raises Damaged when one is missing."""
        with _as_unavailable(self.path), _damage_shown():
            marks = dict(self._open_connection.execute("SELECT name, number FROM marks"))
            if not {"first", "closed"} <= marks.keys():
                raise Damaged("the marks of the first and the last record are gone")
            expected = marks["first"]
            for number, record in self._open_connection.execute(
                "SELECT number, record FROM journal ORDER BY number"
            ):
                if number != expected:
                    raise Damaged(f"record {expected} is missing")
                yield number, record
                expected += 1
            # What was never written needs no end; what was compacted has one.
            if expected <= marks["closed"] or expected == marks["first"] > 1:
                raise Damaged(f"record {expected} is missing")

    # --- writing --------------------------------------------------------------------------

    def append(self, number: int, record: bytes, keep_from: int) -> int:
        """Commit one record, on the disk when this returns; records before `keep_from` may go.

        Returns the number of the oldest record that is left. Raises sqlite3.Error.
        """
        if keep_from == 0:
            # One statement is a transaction of its own, and one trip to the disk.
            self._open_connection.execute("INSERT INTO journal VALUES (?, ?)", (number, record))
            return 0
        with self._transaction() as connection:
            connection.execute("INSERT INTO journal VALUES (?, ?)", (number, record))
            first = self._number("SELECT number FROM marks WHERE name = 'first'")
            first = min(keep_from, first + DELETED_AT_ONCE)
            connection.execute("DELETE FROM journal WHERE number < ?", (first,))
            connection.execute("UPDATE marks SET number = ? WHERE name = 'first'", (first,))
        return first

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._open_connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    # --- the end --------------------------------------------------------------------------

    def close(self) -> None:
        """Mark a clean end, as far as that can be written, and let go."""
        with suppress(sqlite3.Error):
            self._open_connection.execute(
                "UPDATE marks SET number = coalesce((SELECT max(number) FROM journal), 0)"
                " WHERE name = 'closed'"
            )
        self.let_go()

    def let_go(self) -> None:
        """Write nothing, and let another have the file; twice is fine."""
        self._disconnect()
        self._lock.release()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def set_aside(self) -> Path:
        """Rename a damaged file, with all that belongs to it, and begin a new one.

        Returns the new name of the old file.
        """
        self._disconnect()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        aside = f"{self.path.name}.damaged-{stamp}"
        with _as_unavailable(self.path):
            for end in SIDE_FILES:
                with suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + end).rename(
                        self.path.with_name(aside + end)
                    )
            _sync_folder(self.path.parent)
            self._open()
        return self.path.with_name(aside)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """All steps in one transaction: after a crash the file is of the old version or the new."""
    steps = [_script(name) for name in MIGRATIONS[version:]]
    script = "\n".join(steps)
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {len(MIGRATIONS)};\nCOMMIT;"
    )


def _script(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is; Windows sees to that itself."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _damage_shown() -> Iterator[None]:
    """What SQLite finds broken is damage; what it cannot do now is not."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in NOT_READABLE:
            raise Damaged(str(error)) from error
        raise


@contextmanager
def _as_unavailable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackendUnavailable(f"{path}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise BackendUnavailable(f"{path}: {error}") from error

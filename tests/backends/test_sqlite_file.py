"""The file of a SQLite store: one hub each, damage never passes for mail, it grows no further."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.limits import Limits
from agent_hub.queue_backends import journal_file
from agent_hub.queue_backends.sqlite import SqliteBackend
from tests.backends.mail import balance, send, take, take_and_ack, texts
from tests.backends.sqlite_files import all_written, as_after_a_crash, store
from tests.clock import ManualClock

MARK = "these bytes are the mail "
SENT = [f"{MARK}{number} " + "x" * 300 for number in range(40)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


async def filled(path: Path, clock: ManualClock) -> str:
    """Forty messages in a file that was closed; the inbox's epoch."""
    async with store(path, clock) as backend:
        receipts = [await send(backend, text) for text in SENT]
        return receipts[-1][0].epoch


async def test_what_is_no_regular_file_is_not_taken_for_a_store_and_stays(
    path: Path, clock: ManualClock
) -> None:
    os.mkfifo(path)  # as a device, but harmless
    with pytest.raises(BackendUnavailable, match="is not a regular file"):
        async with store(path, clock):
            pass
    assert path.is_fifo()


# --- damage -------------------------------------------------------------------------------


def flip_in_a_message(content: bytearray, number: int) -> None:
    """One bit of what a sender wrote."""
    at = content.index(SENT[number].encode()) + number
    content[at] ^= 1 << (number % 8)


def flip_anywhere(content: bytearray, seed: int) -> None:
    random = Random(seed)
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def cut(content: bytearray, seed: int) -> None:
    """The end is missing: some bytes, some pages, nearly all."""
    keep = (1, 4_095, len(content) - 4_096, len(content) // 2, len(content) - 1, 100, 4_096, 0)
    del content[keep[seed % len(keep)] :]


CASES = [
    *(pytest.param(flip_in_a_message, seed, id=f"message-{seed}") for seed in range(10)),
    *(pytest.param(flip_anywhere, seed, id=f"anywhere-{seed}") for seed in range(30)),
    *(pytest.param(cut, seed, id=f"cut-{seed}") for seed in range(8)),
]


@pytest.mark.parametrize(("damage", "seed"), CASES)
async def test_damage_is_never_a_silent_loss(
    path: Path,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    damage: object,
    seed: int,
) -> None:
    epoch = await filled(path, clock)
    content = bytearray(path.read_bytes())
    assert callable(damage)
    damage(content, seed)
    path.write_bytes(content)
    try:
        async with store(path, clock) as backend:
            read = texts(await take(backend))
            [receipt] = await send(backend, "new")
    except BackendUnavailable:
        return  # refused, by one line
    if read == SENT:
        assert damage is flip_anywhere  # where nothing is stored
        return
    assert read == []
    assert receipt.epoch != epoch
    [loud] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert "DAMAGED" in loud.getMessage()
    [aside] = path.parent.glob("hub.db.damaged-*Z")
    assert aside.read_bytes() == bytes(content)
    assert aside.name in loud.getMessage()


async def test_a_log_without_its_file_is_set_aside(
    path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with store(path, clock) as backend:
        await send(backend, "a")
        crashed = as_after_a_crash(path)
    crashed.unlink()
    async with store(crashed, clock) as backend:
        assert await take(backend) == []
    assert "DAMAGED" in caplog.text
    assert list(path.parent.glob(f"{crashed.name}.damaged-*-wal"))


@pytest.mark.parametrize("lost", ["first", "middle", "last"])
async def test_a_record_that_is_gone_shows(
    path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    await filled(path, clock)
    which = {
        "first": "(SELECT min(number) FROM journal)",
        "middle": "20",
        "last": "(SELECT max(number) FROM journal)",
    }[lost]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"DELETE FROM journal WHERE number = {which}")
    async with store(path, clock):
        assert "is missing" in caplog.text


async def test_a_record_in_anothers_place_shows(
    path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(path, clock)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE journal SET record = (SELECT record FROM journal WHERE number = 7)"
            " WHERE number = 8"
        )
    async with store(path, clock):
        assert "does not match its checksum" in caplog.text


# --- whose file ---------------------------------------------------------------------------


async def test_a_second_hub_is_refused(path: Path, clock: ManualClock) -> None:
    async with store(path, clock) as backend:
        with pytest.raises(BackendUnavailable, match="in use by another hub"):
            await SqliteBackend(path, clock).open()
        await send(backend, "still mine")
    async with store(path, clock):
        pass


async def test_a_place_where_nothing_can_be_locked_is_not_taken_for_another_hub(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(BackendUnavailable, match="No locks available"):
        await SqliteBackend(path, clock).open()


async def test_a_file_of_another_program_is_left_alone(path: Path, clock: ManualClock) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(BackendUnavailable, match="not of Agent Hub"):
        await SqliteBackend(path, clock).open()
    assert path.read_bytes() == before


async def test_a_file_of_a_newer_hub_is_left_alone(path: Path, clock: ManualClock) -> None:
    await filled(path, clock)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(BackendUnavailable, match="newer Agent Hub"):
        await SqliteBackend(path, clock).open()
    assert path.read_bytes() == before


async def test_a_place_that_cannot_be_used_is_named(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BackendUnavailable, match="file"):
        await SqliteBackend(tmp_path / "file" / "hub.db", clock).open()


async def test_mail_is_for_its_owners_eyes(path: Path, clock: ManualClock) -> None:
    async with store(path.parent / "new" / "hub.db", clock) as backend:
        await send(backend, "a")
        for beside in backend.path.parent.iterdir():
            assert beside.stat().st_mode & 0o077 == 0
        assert backend.path.parent.stat().st_mode & 0o077 == 0


# --- versions -----------------------------------------------------------------------------


async def test_an_older_file_is_migrated_and_loses_nothing(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(path, clock)
    step = "CREATE TABLE added (x); INSERT INTO added VALUES (7);"
    scripts = {"next.sql": step, "sqlite.sql": journal_file._script("sqlite.sql")}
    monkeypatch.setattr(journal_file, "MIGRATIONS", ("sqlite.sql", "next.sql"))
    monkeypatch.setattr(journal_file, "_script", scripts.__getitem__)
    for _ in range(2):  # the second time there is nothing to do
        async with store(path, clock) as backend:
            assert texts(await take(backend)) == SENT
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT x FROM added").fetchall() == [(7,)]


async def test_a_migration_that_fails_changes_nothing(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(path, clock)
    scripts = {"next.sql": "CREATE TABLE added (x); SELECT nonsense FROM nowhere;"}
    with monkeypatch.context() as newer:
        newer.setattr(journal_file, "MIGRATIONS", ("sqlite.sql", "next.sql"))
        newer.setattr(journal_file, "_script", scripts.__getitem__)
        with pytest.raises(BackendUnavailable, match="nowhere"):
            await SqliteBackend(path, clock).open()
    async with store(path, clock) as backend:
        assert texts(await take(backend)) == SENT


# --- growth -------------------------------------------------------------------------------


async def test_what_is_settled_leaves_the_file(path: Path, clock: ManualClock) -> None:
    limits = Limits(kept_messages=2, settled_messages=2)
    async with store(path, clock, limits, compact_at=200_000) as backend:
        await send(backend, "stays", to="gamma", ttl=3_600)
        sizes = []
        for _ in range(12):
            for _ in range(10):
                await asyncio.gather(*(send(backend, "x" * 5_000) for _ in range(20)))
                await take_and_ack(backend)
            await all_written(backend)
            sizes.append(path.stat().st_size)
        assert max(sizes) < 3_000_000  # of 12,000,000 that were written
        assert sizes[-1] <= max(sizes[:6]) * 1.5
    async with store(path, clock, limits) as backend:
        assert texts(await take(backend, "gamma")) == ["stays"]
        assert (await backend.totals()).acked == 2_400


async def test_a_file_that_is_written_anew_while_old_mail_makes_way_for_new_holds_both(
    path: Path, clock: ManualClock
) -> None:
    limits = Limits(inbox_messages=2, drop_oldest=True)
    async with store(path, clock, limits, compact_at=1) as backend:
        for number in range(50):
            await send(backend, f"{number}")
        await balance(backend)
    async with store(path, clock, limits) as backend:
        assert texts(await take(backend)) == ["49"]
        assert (await backend.totals()).dropped == 49

"""What every credential store promises."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from agent_hub.auth.sqlite_store import SqliteStore
from agent_hub.auth.store import CredentialStore, Entry, Kind
from agent_hub.core.errors import BackendUnavailable
from tests.clock import ManualClock

TwoStores = tuple[CredentialStore, CredentialStore]


async def test_what_was_put_is_there(store: CredentialStore) -> None:
    assert await store.put(Kind.TOKEN, "a", b"one")
    assert await store.get(Kind.TOKEN, "a") == b"one"
    assert await store.put(Kind.TOKEN, "a", b"two")
    assert await store.get(Kind.TOKEN, "a") == b"two"


async def test_kinds_are_apart(store: CredentialStore) -> None:
    await store.put(Kind.TOKEN, "a", b"one")
    assert await store.get(Kind.REVOKED, "a") is None
    assert await store.entries(Kind.REVOKED) == []


async def test_what_was_never_put_is_not_there(store: CredentialStore) -> None:
    assert await store.get(Kind.TOKEN, "a") is None
    assert not await store.delete(Kind.TOKEN, "a")


async def test_an_entry_is_gone_at_its_end(store: CredentialStore, clock: ManualClock) -> None:
    await store.put(Kind.TOKEN, "a", b"", expires_at=clock.time() + 10)
    clock.pass_by(9)
    assert await store.get(Kind.TOKEN, "a") == b""
    clock.pass_by(1)
    assert await store.get(Kind.TOKEN, "a") is None
    assert await store.entries(Kind.TOKEN) == []
    assert not await store.delete(Kind.TOKEN, "a")


async def test_an_entry_can_be_put_only_if_it_is_new(
    store: CredentialStore, clock: ManualClock
) -> None:
    assert await store.put(Kind.TOKEN, "a", b"one", only_new=True, expires_at=clock.time() + 10)
    assert not await store.put(Kind.TOKEN, "a", b"two", only_new=True)
    assert await store.get(Kind.TOKEN, "a") == b"one"
    clock.pass_by(10)
    assert await store.put(Kind.TOKEN, "a", b"two", only_new=True)


async def test_an_entry_can_be_put_only_if_it_is_known(
    store: CredentialStore, clock: ManualClock
) -> None:
    assert not await store.put(Kind.TOKEN, "a", b"one", only_known=True)
    assert await store.get(Kind.TOKEN, "a") is None
    await store.put(Kind.TOKEN, "a", b"one", expires_at=clock.time() + 10)
    assert await store.put(Kind.TOKEN, "a", b"two", only_known=True, expires_at=clock.time() + 20)
    assert await store.entries(Kind.TOKEN) == [Entry("a", b"two", clock.time() + 20)]
    clock.pass_by(20)
    assert not await store.put(Kind.TOKEN, "a", b"three", only_known=True)
    assert await store.get(Kind.TOKEN, "a") is None


async def test_of_many_who_delete_one_did(store: CredentialStore) -> None:
    await store.put(Kind.TOKEN, "a", b"")
    deleted = await asyncio.gather(*(store.delete(Kind.TOKEN, "a") for _ in range(5)))
    assert sorted(deleted) == [False, False, False, False, True]


async def test_many_are_asked_for_at_once(store: CredentialStore) -> None:
    keys = [f"k{number}" for number in range(1_500)]
    for key in (keys[0], keys[-1]):
        await store.put(Kind.REVOKED, key, key.encode())
    found = await store.get_many(Kind.REVOKED, keys)
    assert found == {keys[0]: keys[0].encode(), keys[-1]: keys[-1].encode()}
    assert await store.get_many(Kind.REVOKED, []) == {}


async def test_very_many_may_ask_at_once(store: CredentialStore) -> None:
    await store.put(Kind.TOKEN, "a", b"one")
    found = await asyncio.gather(*(store.get(Kind.TOKEN, "a") for _ in range(300)))
    assert found == [b"one"] * 300


async def test_all_of_a_kind_can_be_listed(store: CredentialStore, clock: ManualClock) -> None:
    end = clock.time() + 10
    await store.put(Kind.TOKEN, "b", b"2", expires_at=end)
    await store.put(Kind.TOKEN, "a", b"1")
    await store.put(Kind.REVOKED, "c", b"3")
    assert await store.entries(Kind.TOKEN) == [Entry("a", b"1"), Entry("b", b"2", end)]


@pytest.mark.parametrize("key", ["../../etc/passwd", "a b", "'; DROP TABLE entries; --", "*", "é"])
async def test_a_key_is_nothing_but_a_key(store: CredentialStore, key: str) -> None:
    await store.put(Kind.TOKEN, "other", b"")
    assert await store.get(Kind.TOKEN, key) is None
    await store.put(Kind.TOKEN, key, b"mine")
    assert await store.get(Kind.TOKEN, key) == b"mine"
    assert await store.delete(Kind.TOKEN, key)
    assert await store.get(Kind.TOKEN, "other") == b""


async def test_what_one_process_writes_another_sees(two_stores: TwoStores) -> None:
    one, other = two_stores
    await one.put(Kind.TOKEN, "a", b"one")
    assert await other.get(Kind.TOKEN, "a") == b"one"
    await other.delete(Kind.TOKEN, "a")
    assert await one.get(Kind.TOKEN, "a") is None


async def test_two_processes_may_write_at_once(two_stores: TwoStores) -> None:
    puts = [
        store.put(Kind.TOKEN, f"{number} {side}", b"")
        for number in range(20)
        for side, store in enumerate(two_stores)
    ]
    await asyncio.gather(*puts)
    assert len(await two_stores[0].entries(Kind.TOKEN)) == 40


async def test_nobody_else_on_the_machine_can_read_the_file(
    tmp_path: Path, clock: ManualClock
) -> None:
    store = SqliteStore(tmp_path / "new folder" / "credentials.db", clock.time)
    await store.open()
    await store.put(Kind.TOKEN, "a", b"")
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await store.close()


async def test_a_file_outlives_its_process(tmp_path: Path, clock: ManualClock) -> None:
    first = SqliteStore(tmp_path / "credentials.db", clock.time)
    await first.open()
    await first.put(Kind.TOKEN, "a", b"one")
    await first.close()
    with pytest.raises(BackendUnavailable):
        await first.get(Kind.TOKEN, "a")
    second = SqliteStore(first.path, clock.time)
    await second.open()
    assert await second.get(Kind.TOKEN, "a") == b"one"
    await second.close()


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(BackendUnavailable, match="no credentials"):
        await SqliteStore(path, clock.time).open()


async def test_a_file_of_a_newer_hub_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    store = SqliteStore(tmp_path / "credentials.db", clock.time)
    await store.open()
    await store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BackendUnavailable, match="newer"):
        await store.open()


async def test_what_is_no_database_is_refused_as_unavailable(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "credentials.db"
    path.write_bytes(b"not a database, and longer than its header would be" * 20)
    with pytest.raises(BackendUnavailable):
        await SqliteStore(path, clock.time).open()

"""Credentials of several hubs on one Redis, and the password that leads there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from agent_hub.auth.proofs import Proofs
from agent_hub.auth.redis_store import RedisStore
from agent_hub.auth.sealed import new_key, seal
from agent_hub.auth.store import Kind
from agent_hub.auth.tokens import Tokens
from agent_hub.config import Settings, SettingsError, load
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.principal import Principal
from agent_hub.credentials import credential_store, redis_url
from tests.auth.guarded import bearer
from tests.clock import ManualClock
from tests.redis_server import RedisServer
from tests.server import RunningHub, running_hub
from tests.web.peer import Peer

LONGEST_SECONDS = 5.0
PASSWORD = "pä$$:word/@?"
URL = "redis://redis.example:6379/3"

Nodes = tuple[RunningHub, RunningHub]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Names the keys, so that tests do not meet."""
    return str(tmp_path)


@pytest.fixture
async def tokens(
    redis_server: RedisServer, folder: str, clock: ManualClock
) -> AsyncIterator[Tokens]:
    """The command line's view of them."""
    store = RedisStore(redis_server.url, clock.time, prefix=folder)
    await store.open()
    yield Tokens(store, clock.time)
    await store.close()


@pytest.fixture
async def nodes(redis_server: RedisServer, folder: str, clock: ManualClock) -> AsyncIterator[Nodes]:
    """Two hubs that share their credentials."""
    async with AsyncExitStack() as running:
        one, other = [
            await running.enter_async_context(
                running_hub(
                    clock=clock,
                    auth=("token",),
                    credentials=RedisStore(redis_server.url, clock.time, prefix=folder),
                )
            )
            for _ in range(2)
        ]
        yield one, other


async def status(node: RunningHub, token: str) -> int:
    async with node.session.get("/api/v1/agents", headers=bearer(token)) as answer:
        return answer.status


async def test_a_token_is_good_and_revoked_on_every_node(
    nodes: Nodes, tokens: Tokens, clock: ManualClock
) -> None:
    text, token = await tokens.create(["beta"])
    assert [await status(node, text) for node in nodes] == [200, 200]
    await tokens.revoke(token.id)
    clock.pass_by(1)
    assert [await status(node, text) for node in nodes] == [401, 401]


async def test_a_revoked_tokens_open_socket_closes_within_5_seconds_on_every_node(
    nodes: Nodes, tokens: Tokens, clock: ManualClock
) -> None:
    peers = []
    async with AsyncExitStack() as opened:
        text, token = await tokens.create(["beta", "gamma"])
        for node, agent in zip(nodes, ("beta", "gamma"), strict=True):
            socket = await opened.enter_async_context(
                node.session.ws_connect(f"/ws/{agent}", headers=bearer(text), autoping=False)
            )
            peers.append(Peer(socket, receipts=True))
            await peers[-1].next()
        await tokens.revoke(token.id)
        await clock.advance(LONGEST_SECONDS)
        assert [await peer.closed() for peer in peers] == [4500, 4500]


@pytest.mark.parametrize("words", [("LPUSH",), ("SET",)])
async def test_a_token_that_cannot_be_read_hides_no_other_and_no_revocation(
    redis_server: RedisServer,
    folder: str,
    clock: ManualClock,
    caplog: pytest.LogCaptureFixture,
    words: tuple[str, ...],
) -> None:
    store = RedisStore(redis_server.url, clock.time, prefix=folder)
    await store.open()
    tokens, proofs = Tokens(store, clock.time), Proofs(store, clock)
    (_, wrong), (_, gone), (_, good) = [await tokens.create(["beta"]) for _ in range(3)]
    with closing(redis_server.client()) as client:
        key = f"{folder}:{{credentials}}:token:{wrong.id}"
        client.delete(key)
        client.execute_command(*words, key, "something else")  # type: ignore[no-untyped-call]
    await tokens.revoke(gone.id)
    watched = [
        Principal(via="rest", peer="", agents=frozenset(), credential=f"token:{token.id}")
        for token in (wrong, gone, good)
    ]
    for _ in range(2):
        assert watched[1].credential in await proofs.lost(watched)
        assert watched[2].credential not in await proofs.lost(watched)
        assert await tokens.known() == [good]
    assert caplog.text.count(f"{key} holds something else") == 1
    with pytest.raises(BackendUnavailable):
        await store.get(Kind.TOKEN, wrong.id)
    await store.close()


async def test_without_redis_nobody_is_told_that_a_credential_was_bad(clock: ManualClock) -> None:
    store = RedisStore("redis://127.0.0.1:1/0", clock.time)
    with pytest.raises(BackendUnavailable):
        await store.open()
    await store.close()


def test_a_hub_on_redis_keeps_its_credentials_there(clock: ManualClock) -> None:
    assert isinstance(credential_store(Settings(backend=URL), clock), RedisStore)


# --- the password ---------------------------------------------------------------------------


def test_without_redis_there_is_no_url() -> None:
    assert redis_url(Settings(backend="memory")) is None


@pytest.mark.parametrize("user", ["", "hub"])
def test_the_password_may_stand_in_a_setting_of_its_own(user: str) -> None:
    at = f"{user}@" if user else ""
    settings = Settings(backend=f"redis://{at}redis.example:6379/3", redis_password=PASSWORD)
    quoted = "p%C3%A4%24%24%3Aword%2F%40%3F"
    assert redis_url(settings) == f"redis://{user}:{quoted}@redis.example:6379/3"


def test_an_encrypted_password_is_opened_wherever_it_stands() -> None:
    key = new_key()
    sealed = seal(PASSWORD, key)
    plain = redis_url(Settings(backend=URL, redis_password=PASSWORD))
    assert redis_url(Settings(backend=URL, redis_password=sealed, secret_key=key)) == plain
    within = f"redis://:{sealed}@redis.example:6379/3"
    assert redis_url(Settings(backend=within, secret_key=key)) == plain


@pytest.mark.parametrize("key", ["", new_key.__name__, "A" * 43 + "="])
def test_a_password_that_cannot_be_opened_is_told_in_one_line_without_it(key: str) -> None:
    sealed = seal(PASSWORD, new_key())
    with pytest.raises(SettingsError) as refusal:
        redis_url(Settings(backend=URL, redis_password=sealed, secret_key=key))
    text = str(refusal.value)
    assert "\n" not in text
    assert sealed not in text
    assert PASSWORD not in text


def test_the_key_and_the_password_may_stand_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    for name, text in (("SECRET_KEY", key), ("REDIS_PASSWORD", seal(PASSWORD, key))):
        path = tmp_path / name
        path.write_text(text + "\n")
        monkeypatch.setenv(f"AGENT_HUB_{name}_FILE", str(path))
    settings = load({"backend": URL})
    assert redis_url(settings) == redis_url(Settings(backend=URL, redis_password=PASSWORD))
    assert key not in repr(settings)

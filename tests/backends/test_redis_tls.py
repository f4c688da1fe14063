"""`rediss://`: the hub's way to Redis over TLS, as far as its URL says, and why not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from agent_hub.auth.redis_store import RedisStore
from agent_hub.auth.store import Kind
from agent_hub.config import Settings, SettingsError
from agent_hub.core.errors import BackendUnavailable
from agent_hub.credentials import redis_url
from agent_hub.queue_backends.redis.backend import RedisBackend
from agent_hub.redis_way import option_fault
from tests.backends.mail import send, take, texts
from tests.backends.redis_stores import server
from tests.patience import PATIENCE

AUTHORITY = trustme.CA()
OTHER = trustme.CA()


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate of the hub's own, and its key."""
    cert, key = tmp_path / "hub.pem", tmp_path / "hub.key"
    issued = AUTHORITY.issue_cert("hub.example")
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    return cert, key


@asynccontextmanager
async def tls_front(name: str = "127.0.0.1", *, asks_back: bool = False) -> AsyncIterator[str]:
    """Where the Redis of all tests is reached over TLS alone. `asks_back` for a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert(name).configure_cert(context)
    if asks_back:
        AUTHORITY.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    open_ways = set[asyncio.Task[None]]()

    async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = asyncio.current_task()
        assert way is not None
        open_ways.add(way)
        back, forth = await asyncio.open_connection("127.0.0.1", server().port)
        try:
            await asyncio.gather(pass_on(reader, forth), pass_on(back, writer))
        finally:
            writer.close()
            forth.close()
            open_ways.discard(way)

    door = await asyncio.start_server(let_in, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{door.sockets[0].getsockname()[1]}"
    finally:
        door.close()
        await asyncio.gather(*open_ways, return_exceptions=True)


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(65_536):
        writer.write(said)
    writer.close()


async def refused(url: str) -> str:
    """What the start says of it, in one line."""
    with pytest.raises(BackendUnavailable) as refusal:
        await RedisBackend(url).open()
    assert len(refusal.value.detail.splitlines()) == 1
    return refusal.value.detail


async def test_messages_wakeups_and_credentials_go_over_tls(ca: Path) -> None:
    async with asyncio.timeout(PATIENCE), tls_front() as place:
        url = f"rediss://{place}/14?ssl_ca_certs={ca}"
        backend = RedisBackend(url, prefix="over-tls")
        await backend.open()
        await backend.remove_agent("alpha")
        woken = asyncio.Event()
        backend.watch("alpha", woken.set)
        await woken.wait()  # it may have missed a hint until it began to listen
        woken.clear()
        await send(backend, "a")
        await woken.wait()
        assert texts(await take(backend)) == ["a"]
        await backend.close()
        store = RedisStore(url, lambda: 0.0, prefix="over-tls")
        await store.open()
        assert await store.put(Kind.TOKEN, "k", b"v")
        await store.close()


async def test_a_certificate_of_an_authority_that_nobody_named_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    OTHER.cert_pem.write_to_path(other)
    async with tls_front() as place:
        for url in (f"rediss://{place}", f"rediss://{place}?ssl_ca_certs={other}"):
            said = await refused(url)
            assert said.startswith(f"Redis at {place}: its certificate is not trusted: ")
            assert "local issuer" in said
            store = RedisStore(url, lambda: 0.0)
            with pytest.raises(BackendUnavailable, match=r"reached \(its certificate is not trus"):
                await store.open()
            await store.close()


async def test_a_certificate_for_another_host_is_refused(ca: Path) -> None:
    async with tls_front("redis.example") as place:
        url = f"rediss://{place}?ssl_ca_certs={ca}"
        assert "certificate is not valid for '127.0.0.1'" in await refused(url)
        backend = RedisBackend(f"{url}&ssl_check_hostname=no")
        await backend.open()
        await backend.close()


async def test_a_redis_that_asks_for_a_certificate_gets_that_of_the_url(
    ca: Path, own: tuple[Path, Path]
) -> None:
    cert, key = own
    async with tls_front(asks_back=True) as place:
        url = f"rediss://{place}?ssl_ca_certs={ca}"
        backend = RedisBackend(f"{url}&ssl_certfile={cert}&ssl_keyfile={key}")
        await backend.open()
        await backend.close()
        # All that is heard of it is that the connection ends.
        assert "no connection; is it running, and is the URL" in await refused(url)


async def test_where_one_side_speaks_no_tls_the_start_asks_about_it() -> None:
    async with tls_front() as place:
        for url in (f"redis://{place}", f"rediss://127.0.0.1:{server().port}"):
            assert (await refused(url)).endswith("also about TLS?")


async def test_what_answers_in_plain_text_is_said_to_speak_no_tls() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"-ERR I do not understand\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as plain:
        place = f"127.0.0.1:{plain.sockets[0].getsockname()[1]}"
        assert f"Redis at {place}: no TLS: WRONG_VERSION_NUMBER" == await refused(
            f"rediss://{place}"
        )


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_that_is_not_there_or_holds_no_certificate_is_told_by_its_option(
    tmp_path: Path, option: str
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_text("no PEM")
    for path in (tmp_path / "nowhere", garbage):
        fault = option_fault(f"rediss://redis.example?{option}={path}")
        assert fault is not None
        assert option in fault
        assert str(path) not in fault


@pytest.mark.parametrize(
    "option", ["ssl_ca_cert=x", "ssl_cert_reqs=perhaps", "socket_timeout=soon", "ssl_min_version=1"]
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_an_option_of_the_url_that_nobody_knows_is_refused_in_one_line(
    scheme: str, option: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        redis_url(Settings(backend=f"{scheme}://redis.example?{option}"))
    [line] = str(refusal.value).splitlines()
    name, _, value = option.partition("=")
    assert name in line
    assert f"={value}" not in line

"""Client ID Metadata Documents: a stranger names an address, and the hub fetches it.

So that this reaches nothing but what the whole world can reach: https alone, a name resolved once
and the very address that was checked connected to, no redirect followed, little time, few bytes.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from agent_hub.auth.fetching import decoded
from agent_hub.auth.oauth.clients import Client, client_of
from agent_hub.core.clock import Clock

log = logging.getLogger(__name__)

FETCH_SECONDS = 5.0
MAX_BYTES = 64 * 1024
FRESH_SECONDS = 300.0
STALE_SECONDS = 86_400.0
"""How long a client is known whose document cannot be reached at the moment."""
PAUSE_SECONDS = 30.0
"""Until an address that gave no client is asked again."""
MAX_REMEMBERED = 200
AT_ONCE = 32
"""A site that answers late holds one of these for FETCH_SECONDS."""
MAX_URL_CHARACTERS = 500

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

GLOBAL_UNICAST = IPv6Network("2000::/3")
SPECIAL = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
"""Protocol assignments and relays, of which older Pythons say that they are global."""


class NotPublic(OSError):
    """The address is not for the whole world."""


def is_public(address: Address) -> bool:
    """Whether an address is one that the whole world can reach, and no way to one that is not.

    An IPv6 address that stands for an IPv4 one (mapped, NAT64, 6to4, Teredo) never is: what it
    stands for could be said outright.
    """
    if isinstance(address, IPv6Address):
        stands_for = address.ipv4_mapped or address.sixtofour or address.teredo
        if address not in GLOBAL_UNICAST or stands_for is not None:
            return False
    elif any(address in network for network in SPECIAL):
        return False
    return address.is_global and not address.is_multicast


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system finds them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class Guard(AbstractResolver):
    """Resolves names for one connection, and lets through only addresses that `allows` allows."""

    def __init__(self, resolve: Resolve, allows: Callable[[Address], bool]) -> None:
        self._resolve = resolve
        self._allows = allows

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """One address that was checked. Raises NotPublic when any of the name's is not allowed:
        a name that is half inside is no client's.
        """
        addresses = await self._resolve(host, port)
        for address in addresses:
            self.check(address)
        return [_result(host, address, port) for address in addresses[:1]]

    def check(self, address: str) -> None:
        """Raise NotPublic."""
        if not self._allows(ipaddress.ip_address(address.partition("%")[0])):
            raise NotPublic("the address is not public")

    def new_socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        """A socket to connect with. Raises NotPublic.

        Every connection comes by here, also to what needed no resolving: a URL has more ways to
        write an address than a look at it would find.
        """
        family, kind, proto, _, place = address
        self.check(str(place[0]))
        return socket.socket(family, kind, proto)

    async def close(self) -> None:
        return


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )


class _Known(Struct):
    """`client` is None for an address that gave none. Times are monotonic."""

    client: Client | None
    asked_at: float
    found_at: float


class Documents:
    """Fetches documents and remembers them for a while.

    `resolve` and `allows` are for tests: a name that is no name of the world's, on this machine.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        resolve: Resolve = resolve,
        allows: Callable[[Address], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._guard = Guard(resolve, allows)
        self._tls = tls or ssl.create_default_context()
        self._known: dict[str, _Known] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def find(self, client_id: str) -> Client | None:
        """The client whose id is this address; None when there is none there."""
        if not is_document_url(client_id):
            return None
        known = self._known.get(client_id)
        if known is None or not self._is_fresh(known):
            known = await self._ask(client_id, known)
        return known.client

    def _is_fresh(self, known: _Known) -> bool:
        age = self._clock.monotonic() - known.asked_at
        return age < (PAUSE_SECONDS if known.client is None else FRESH_SECONDS)

    async def _ask(self, client_id: str, before: _Known | None) -> _Known:
        async with self._turns:
            now = self._clock.monotonic()
            try:
                client = client_of(await self._fetch(client_id), client_id)
                known = _Known(client, now, now)
            except (aiohttp.ClientError, OSError) as error:
                log.warning("a client's document could not be fetched: %s", type(error).__name__)
                known = _Known(None, now, now)
                if before is not None and now - before.found_at < STALE_SECONDS:
                    known = _Known(before.client, now, before.found_at)
            except ValueError as error:
                log.warning("a client's document is none: %s", type(error).__name__)
                known = _Known(None, now, now)
        self._remember(client_id, known)
        return known

    def _remember(self, client_id: str, known: _Known) -> None:
        self._known.pop(client_id, None)
        self._known[client_id] = known
        if len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]

    async def _fetch(self, url: str) -> object:
        """The JSON at an address. Raises ClientError, OSError, ValueError."""
        connector = aiohttp.TCPConnector(
            resolver=self._guard,
            socket_factory=self._guard.new_socket,
            use_dns_cache=False,
            ssl=self._tls,
            force_close=True,
        )
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            ) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            return await _json(response)


async def _json(response: aiohttp.ClientResponse) -> object:
    if response.status >= 500:
        raise aiohttp.ClientError(f"it answers {response.status}")
    if response.status != 200:  # a redirect is one of these
        raise ValueError(f"it answers {response.status}")
    if response.content_type != "application/json" and not response.content_type.endswith("+json"):
        raise ValueError("it is no JSON")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES} bytes")
    return decoded(body, object)


def is_document_url(client_id: str) -> bool:
    """Whether an id can be the address of a document about its client."""
    if len(client_id) > MAX_URL_CHARACTERS or not client_id.isascii():
        return False
    try:
        parts = urlsplit(client_id)
        well_formed = parts.port != 0
    except ValueError:
        return False
    segments = parts.path.split("/")
    return (
        well_formed
        and parts.scheme == "https"
        and bool(parts.hostname)
        and parts.path not in ("", "/")
        and not {".", ".."} & set(segments)
        and "@" not in parts.netloc
        and "#" not in client_id
        and "\\" not in client_id
        and client_id.isprintable()
        and " " not in client_id
    )

"""What a trusted proxy says of the client it speaks for; of anybody else nothing is believed.

One header is read and no other: a proxy that sets one of them may pass on the other as a client
made it up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from aiohttp import web

X_FORWARDED = "x-forwarded-for"
FORWARDED = "forwarded"
HEADERS = (X_FORWARDED, FORWARDED)
SCHEMES = frozenset({"http", "https"})

UNKNOWN = "unknown"

# One pair or none, and what ends it: a quoted value holds anything (RFC 7239, 4). No character can
# be taken in two ways, so that no header is slow to read.
_PAIR = re.compile(r"""[ \t]*+(?:([A-Za-z]++)=("(?:\\.|[^"\\])*+"|[^",;\s]*+)[ \t]*+)?([,;]|$)""")
_PORT = re.compile(r"^(\[[^\]]+\]|[^:]+):\d+$")

Network = IPv4Network | IPv6Network


class Client(NamedTuple):
    """As the hub sees it: its address, and the scheme that it used."""

    peer: str
    scheme: str


class Hop(NamedTuple):
    """What one proxy says of the one before it; empty where it says nothing."""

    peer: str
    scheme: str


class Proxies:
    """`trusted` are addresses or networks; `header` is one of HEADERS."""

    def __init__(self, trusted: Iterable[str], header: str = X_FORWARDED) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(one) for one in trusted)
        self._hops: Callable[[web.Request], Iterator[Hop]] = (
            _x_forwarded if header == X_FORWARDED else _forwarded
        )

    def client(self, request: web.Request) -> Client:
        """Who sent this request.

        Each proxy adds the one that it heard from at the end, so that the last one that is no
        proxy of ours is the client; what stands before it was written by that one.
        """
        client = Client(request.remote or "", request.scheme)
        if not self.is_trusted(client.peer):
            return client
        for hop in self._hops(request):
            client = Client(hop.peer or client.peer, hop.scheme or client.scheme)
            if not self.is_trusted(client.peer):
                break
        return client

    def is_trusted(self, peer: str) -> bool:
        """Whether an address is of one of those proxies."""
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self._trusted)


# Each reads from the end, as far as somebody asks: what stands before is not even looked at.


def _x_forwarded(request: web.Request) -> Iterator[Hop]:
    """X-Forwarded-For; the last X-Forwarded-Proto is of the last proxy, which speaks to the hub."""
    scheme = _scheme(next(reversed(_words(request, "X-Forwarded-Proto")), ""))
    for peer in reversed(_words(request, "X-Forwarded-For")):
        yield Hop(_address(peer), scheme)
        scheme = ""


def _words(request: web.Request, name: str) -> list[str]:
    whole = ",".join(request.headers.getall(name, ()))
    return [word.strip() for word in whole.split(",") if word.strip()]


def _forwarded(request: web.Request) -> Iterator[Hop]:
    """Line by line: a quote that a client left open must not take in what a proxy wrote."""
    for line in reversed(request.headers.getall("Forwarded", ())):
        yield from reversed(_hops_of(line))


def _hops_of(line: str) -> list[Hop]:
    """Of a line that is not well formed nobody knows where a client's words end: it says nothing
    but that somebody was there.
    """
    hops: list[Hop] = []
    said: dict[str, str] = {}
    place = 0
    while pair := _PAIR.match(line, place):
        name, value, end = pair.groups()
        if name:
            said[name.lower()] = _unquoted(value)
        if end != ";" and said:
            hops.append(Hop(_address(said.get("for", "")), _scheme(said.get("proto", ""))))
            said = {}
        if not end:
            return hops
        place = pair.end()
    return [Hop(UNKNOWN, "")]


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _address(said: str) -> str:
    """An IP address without port and brackets; `unknown` and made-up names are none."""
    try:
        ip_address(said)
    except ValueError:
        bare = _PORT.sub(r"\1", said).strip("[]")
        try:
            ip_address(bare)
        except ValueError:
            return UNKNOWN
        return bare
    return said


def _scheme(said: str) -> str:
    return said.lower() if said.lower() in SCHEMES else ""

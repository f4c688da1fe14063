"""What a trusted proxy says of the client it speaks for; of anybody else nothing is believed.

One header is read and no other: a proxy that sets one of them may pass on the other as a client
made it up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from aiohttp import web

X_FORWARDED = "x-forwarded-for"
FORWARDED = "forwarded"
HEADERS = (X_FORWARDED, FORWARDED)
SCHEMES = frozenset({"http", "https"})

# A quoted value holds anything; a bare one ends at a comma or semicolon (RFC 7239, 4).
_ELEMENT = re.compile(r"""(?:"(?:\\.|[^"\\])*"|[^,"])+""")
_PAIR = re.compile(r"""\s*([A-Za-z]+)=("(?:\\.|[^"\\])*"|[^;"]*)\s*(?:;|$)""")
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
        self._hops: Callable[[web.Request], list[Hop]] = (
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
        for hop in reversed(self._hops(request)):
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


def _x_forwarded(request: web.Request) -> list[Hop]:
    """X-Forwarded-For; the last X-Forwarded-Proto is of the last proxy, which speaks to the hub."""
    peers = _words(request, "X-Forwarded-For")
    schemes = _words(request, "X-Forwarded-Proto")
    hops = [Hop(_address(peer), "") for peer in peers]
    if schemes and hops:
        hops[-1] = Hop(hops[-1].peer, _scheme(schemes[-1]))
    return hops


def _words(request: web.Request, name: str) -> list[str]:
    whole = ",".join(request.headers.getall(name, ()))
    return [word.strip() for word in whole.split(",") if word.strip()]


def _forwarded(request: web.Request) -> list[Hop]:
    whole = ",".join(request.headers.getall("Forwarded", ()))
    return [_hop(element) for element in _ELEMENT.findall(whole) if element.strip()]


def _hop(element: str) -> Hop:
    said = {name.lower(): _unquoted(value) for name, value in _PAIR.findall(element)}
    return Hop(_address(said.get("for", "")), _scheme(said.get("proto", "")))


def _unquoted(value: str) -> str:
    value = value.strip()
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
            return "unknown"
        return bare
    return said


def _scheme(said: str) -> str:
    return said.lower() if said.lower() in SCHEMES else ""

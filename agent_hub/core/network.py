"""Whose an address is, where addresses are counted; which are this machine, which ways are safe."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

IPV6_HOST_BITS = 64
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def network_of(peer: str) -> str:
    """What one host has: its own address in IPv4, a /64 in IPv6. Anything else as it is."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped or IPv6Network((address, IPV6_HOST_BITS), strict=False))
    return str(address)


def is_this_machine(host: str | None) -> bool:
    """Whether who goes to this host stays on its own machine."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_safe(url: str) -> bool:
    """Whether nobody on the way can read or change what a URL leads to."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS)

"""Whose an address is, where addresses are counted."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address

IPV6_HOST_BITS = 64


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

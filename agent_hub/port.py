"""The port that a hub listens on: kept while its workers come and go, and why it cannot be had."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

ADVICE = {
    errno.EADDRINUSE: "end the program that has it, or choose another with --port",
    errno.EACCES: "ports below 1024 are for the administrator: choose another with --port",
    errno.EADDRNOTAVAIL: "--host must be an address of this machine",
}


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Why an address cannot be had, and what to do about it."""
    advice = ADVICE.get(error.errno or 0, "see --host")
    return f"cannot listen on {host}:{port}: {error.strerror}; {advice}"


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """The port, chosen now if it is 0, and kept while no worker has it. Raises OSError.

    A bound socket that does not listen gets no connections.
    """
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with ExitStack() as held:
        for family, _, _, _, address in addresses:
            if port:
                _must_be_free(family, (address[0], port, *address[2:]))
            place = held.enter_context(_socket(family))
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            place.bind((address[0], port, *address[2:]))
            port = place.getsockname()[1]
        yield port


def _must_be_free(family: int, address: tuple[Any, ...]) -> None:
    """Another hub with workers would let us share its port, and take half of its calls."""
    with _socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made

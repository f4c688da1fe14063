"""Ports for servers that a test kills and starts again in the same place."""

from __future__ import annotations

import random
import socket

# Below those that systems give to connections: a killed server finds its own free again.
PORTS = range(12_000, 22_000)


def free_port(*beside: int) -> int:
    """One that nobody has now, and neither those so far above it."""
    for port in random.sample(PORTS, 100):
        if all(_is_free(port + offset) for offset in (0, *beside)):
            return port
    raise RuntimeError("no free port")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

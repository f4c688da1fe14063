"""Resident memory of the hub: bytes for a queued message, and for an idle WebSocket.

Queued: 200-byte texts in inboxes that nobody reads. Idle: sockets that had their welcome. Each
round starts a hub of its own, warms it with a tenth of the load, and takes the growth.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
from statistics import median

import uvloop

from benchmarks import load, servers
from benchmarks.servers import Server

INBOXES = 250
MESSAGES_PER_INBOX = 400
SOCKETS = 1_000
SETTLING_SECONDS = 2.0


def run(asked: argparse.Namespace) -> None:
    """Print medians."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    messages, sockets = [], []
    for _ in range(min(asked.rounds, 3)):
        with servers.hub(asked.backend[0], redis_url=asked.redis_url) as hub:
            messages.append(uvloop.run(_messages(hub)))
        with servers.hub(asked.backend[0], redis_url=asked.redis_url) as hub:
            sockets.append(uvloop.run(_sockets(hub)))
        print(f"  {messages[-1]:6.0f} bytes a message {sockets[-1]:8.0f} bytes a socket")
    print(f"median {median(messages):6.0f} bytes for a queued message of {len(load.TEXT)} bytes")
    print(f"median {median(sockets):6.0f} bytes for an idle WebSocket")


async def _messages(hub: Server) -> float:
    await _fill(hub, "warm", INBOXES // 10)
    before = hub.resident_bytes
    queued = await _fill(hub, "inbox", INBOXES)
    await asyncio.sleep(SETTLING_SECONDS)
    return (hub.resident_bytes - before) / queued


async def _fill(hub: Server, name: str, inboxes: int) -> int:
    """Each inbox gets its messages from a sender of its own, over ten connections."""
    requests = [
        [
            load.send_request(hub.port, f"sender-{number}", f"{name}-{number}")
            for number in range(connection, inboxes, 10)
            for _ in range(MESSAGES_PER_INBOX)
        ]
        for connection in range(10)
    ]
    return await load.deliver_all(hub.port, requests)


async def _sockets(hub: Server) -> float:
    warm = [await load.listen(hub.port, f"warm-{n}") for n in range(SOCKETS // 10)]
    before = hub.resident_bytes
    idle = [await load.listen(hub.port, f"idle-{n}") for n in range(SOCKETS)]
    await asyncio.sleep(SETTLING_SECONDS)
    used = (hub.resident_bytes - before) / SOCKETS
    for listener in (*warm, *idle):
        listener.close()
    return used

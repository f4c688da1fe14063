"""From a REST send to its arrival on the recipient's WebSocket, at 100 messages a second."""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import quantiles

import uvloop

from benchmarks import load, servers
from benchmarks.servers import Server

RATE = 100.0


def run(asked: argparse.Namespace) -> None:
    """Print the median and the 99th percentile of each round, in milliseconds."""
    with servers.hub(asked.backend[0], redis_url=asked.redis_url) as hub:
        for number in range(min(asked.rounds, 3)):
            delays = uvloop.run(_round(hub, asked.seconds))
            cuts = quantiles(delays, n=100)
            print(
                f"round {number + 1}: {len(delays)} messages, p50 {cuts[49] * 1e3:.2f} ms, "
                f"p99 {cuts[98] * 1e3:.2f} ms, longest {max(delays) * 1e3:.2f} ms"
            )


async def _round(hub: Server, seconds: float) -> list[float]:
    listener = await load.listen(hub.port, "reader")
    delays: list[float] = []
    sent_at = 0.0

    def arrived(frame: bytes) -> None:
        delays.append(time.perf_counter() - sent_at)

    listener.on_frame = arrived
    request = load.send_request(hub.port, "sender", "reader")
    caller = await load.call(hub.port, load.Caller([request], lambda accepted: None))
    caller.stopped = True  # one send at a time, when this loop says so
    for _ in range(int(seconds * RATE)):
        sent_at = time.perf_counter()
        caller.next()
        await asyncio.sleep(1 / RATE)
    caller.close()
    listener.close()
    return delays

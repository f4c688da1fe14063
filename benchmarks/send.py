"""REST sends to connected agents, beside a bare aiohttp handler in the same run.

Closed loop: each connection sends its next message when the last was answered. The hub validates,
queues, counts, answers, pushes to the recipient's WebSocket and takes its receipt; the bare
handler parses JSON and answers JSON. The load runs in this process, the server in its own.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from statistics import median

import uvloop

from benchmarks import load, servers
from benchmarks.servers import Server


def run(asked: argparse.Namespace) -> None:
    """Print medians of all rounds and the ratio."""
    with ExitStack() as running:
        hub = running.enter_context(servers.hub())
        bare = running.enter_context(servers.bare())
        results: dict[str, list[tuple[float, float]]] = {"hub": [], "bare": []}
        for number in range(asked.rounds + 1):
            for name, server in (("hub", hub), ("bare", bare)):
                one = uvloop.run(_round(server, name == "hub", asked))
                if number:  # the first round warms up
                    results[name].append(one)
                    print(f"  {name:5} {one[0]:9.0f} sends/s {one[1]:6.1f} µs CPU each")
    _print(results)


async def _round(
    server: Server, with_listeners: bool, asked: argparse.Namespace
) -> tuple[float, float]:
    """Sends a second, and the server's processor time for one in microseconds."""
    agents = [f"agent-{number}" for number in range(asked.connections)]
    listeners = [await load.listen(server.port, a) for a in agents] if with_listeners else []
    requests = [
        [load.send_request(server.port, sender, agents[(place + 1) % len(agents)])]
        for place, sender in enumerate(agents)
    ]
    cpu, started = server.cpu_seconds, time.perf_counter()
    accepted, refused = await load.drive(server.port, requests, asked.seconds)
    elapsed, cpu = time.perf_counter() - started, server.cpu_seconds - cpu
    arrived = sum(listener.frames for listener in listeners) - len(listeners)
    for listener in listeners:
        listener.close()
    assert not refused, f"{refused} sends refused"
    assert not with_listeners or arrived >= accepted, f"{accepted} accepted, {arrived} arrived"
    return accepted / elapsed, cpu / accepted * 1e6


def _print(results: dict[str, list[tuple[float, float]]]) -> None:
    rate = {name: median(r for r, _ in rounds) for name, rounds in results.items()}
    cpu = {name: median(c for _, c in rounds) for name, rounds in results.items()}
    ratios = [h[0] / b[0] for h, b in zip(results["hub"], results["bare"], strict=True)]
    for name in rate:
        print(f"{name:5} median {rate[name]:9.0f} sends/s {cpu[name]:6.1f} µs CPU each")
    print(
        f"hub / bare: {rate['hub'] / rate['bare']:.2f} of its throughput "
        f"(rounds {min(ratios):.2f} to {max(ratios):.2f}), "
        f"{cpu['hub'] / cpu['bare']:.2f} times its CPU"
    )

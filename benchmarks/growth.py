"""The cost of a send as the hub fills: with 10,000 agents, and with 100,000 queued messages.

Three hubs take turns in one run: one with 10 agents and nothing queued, one with 10,000
registered agents, one with 100,000 queued messages. The cost is the server's processor time.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from statistics import median

import uvloop

from benchmarks import load, servers
from benchmarks.servers import Server

INBOXES = 250
MESSAGES_PER_INBOX = 400
CONNECTIONS = 16
SENDS = 300
"""On each connection and round, to a fresh recipient: below one sender's share of an inbox."""


def run(asked: argparse.Namespace) -> None:
    """Print medians and their ratios."""
    with ExitStack() as running:
        hubs = {
            name: running.enter_context(servers.hub(asked.backend[0], redis_url=asked.redis_url))
            for name in ("small", "agents", "queued")
        }
        uvloop.run(_register(hubs["small"], 10))
        uvloop.run(_register(hubs["agents"], 10_000))
        uvloop.run(_queue(hubs["queued"]))
        costs: dict[str, list[float]] = {name: [] for name in hubs}
        for number in range(asked.rounds + 1):
            for name, hub in hubs.items():
                cost = uvloop.run(_cost(hub, number))
                if number:  # the first round warms up
                    costs[name].append(cost)
    medians = {name: median(rounds) for name, rounds in costs.items()}
    for name, cost in medians.items():
        print(f"{name:7} median {cost:6.1f} µs CPU a send")
    print(f"10,000 agents / 10: {medians['agents'] / medians['small']:.2f} times")
    print(f"100,000 queued / none: {medians['queued'] / medians['small']:.2f} times")


async def _register(hub: Server, count: int) -> None:
    path = "/api/v1/agents/register"
    requests = [load.request(hub.port, path, {"agent_id": f"agent-{n}"}) for n in range(count)]
    await load.deliver_all(hub.port, [requests[start::10] for start in range(10)])


async def _queue(hub: Server) -> None:
    requests = [
        load.send_request(hub.port, f"sender-{number}", f"queued-{number}")
        for number in range(INBOXES)
        for _ in range(MESSAGES_PER_INBOX)
    ]
    await load.deliver_all(hub.port, [requests[start::10] for start in range(10)])


async def _cost(hub: Server, number: int) -> float:
    requests = [
        [load.send_request(hub.port, f"agent-{place}", f"to-{number}-{place}")] * SENDS
        for place in range(CONNECTIONS)
    ]
    before = hub.cpu_seconds
    sent = await load.deliver_all(hub.port, requests)
    return (hub.cpu_seconds - before) / sent * 1e6

"""REST sends, beside a bare aiohttp handler in the same run.

Closed loop: each connection sends its next message when the last was answered. The load runs in
this process, each server in its own. They take turns, with `--backend` also hubs of several stores:

- bare: parses JSON and answers JSON, nothing else;
- queue: the hub validates, queues, counts and answers; nobody reads;
- push: besides that, each message is pushed to its recipient's WebSocket, and acked by receipt.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple

import uvloop

from benchmarks import load, servers
from benchmarks.servers import Server

READERS = 8
TURNS = 16
MESSAGES_PER_INBOX = 400
"""One sender may fill half of an inbox; a fresh recipient is taken before that."""


def run(asked: argparse.Namespace) -> None:
    """Print medians of all rounds and the ratios."""
    with ExitStack() as running:
        bare = running.enter_context(servers.bare())
        hubs = {
            name: running.enter_context(servers.hub(name, redis_url=asked.redis_url))
            for name in asked.backend
        }
        results: dict[str, list[Measured]] = {"bare": []}
        for name in hubs:
            results |= {f"{name} queue": [], f"{name} push": []}
        for number in range(asked.rounds + 1):
            for name, measured in results.items():
                backend, _, work = name.partition(" ")
                one = uvloop.run(_round(hubs.get(backend, bare), work, number, asked))
                if number:  # the first round warms up
                    measured.append(one)
                    print(f"  {name:12} {one}")
    _print(results)


class Measured(NamedTuple):
    """Sends a second, and for one of them the server's processor time and that of its Redis, in
    microseconds.
    """

    rate: float
    cpu: float
    store_cpu: float

    def __str__(self) -> str:
        store = f" and {self.store_cpu:.1f} of Redis" if self.store_cpu else ""
        return f"{self.rate:9.0f} sends/s {self.cpu:6.1f} µs CPU each{store}"


async def _round(server: Server, work: str, number: int, asked: argparse.Namespace) -> Measured:
    senders = [f"sender-{place}" for place in range(asked.connections)]
    readers = [f"reader-{place}" for place in range(READERS)] if work == "push" else []
    listeners = [await load.listen(server.port, reader) for reader in readers]
    repeats = 1 if readers else MESSAGES_PER_INBOX
    requests = [
        [
            request
            for to in _recipients(readers, place, number)
            # one object repeated: a load that fills the caches slows down whom it measures
            for request in [load.send_request(server.port, sender, to)] * repeats
        ]
        for place, sender in enumerate(senders)
    ]
    cpu, store_cpu, started = server.cpu_seconds, server.store_cpu_seconds, time.perf_counter()
    accepted, refused = await load.drive(server.port, requests, asked.seconds)
    elapsed, cpu = time.perf_counter() - started, server.cpu_seconds - cpu
    store_cpu = server.store_cpu_seconds - store_cpu
    arrived = sum(listener.frames for listener in listeners) - len(listeners)
    for listener in listeners:
        listener.close()
    if refused or (listeners and arrived < accepted):
        raise SystemExit(f"{accepted} accepted, {refused} refused, {arrived} arrived")
    return Measured(accepted / elapsed, cpu / accepted * 1e6, store_cpu / accepted * 1e6)


def _recipients(readers: list[str], place: int, number: int) -> list[str]:
    if readers:
        return [readers[place % len(readers)]]
    return [f"inbox-{number}-{place}-{turn}" for turn in range(TURNS)]


def _print(results: dict[str, list[Measured]]) -> None:
    medians = {
        name: Measured(*(median(column) for column in zip(*rounds, strict=True)))
        for name, rounds in results.items()
    }
    for name, measured in medians.items():
        print(f"{name:12} median {measured}")
    for name in list(results)[1:]:
        ratios = [
            one.rate / bare.rate for one, bare in zip(results[name], results["bare"], strict=True)
        ]
        print(
            f"{name} / bare: {medians[name].rate / medians['bare'].rate:.2f} of its throughput "
            f"(rounds {min(ratios):.2f} to {max(ratios):.2f}), "
            f"{medians[name].cpu / medians['bare'].cpu:.2f} times its CPU"
        )

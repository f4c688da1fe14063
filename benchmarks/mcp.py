"""MCP tool calls, beside the SDK's own MCPServer under uvicorn in the same run.

Closed loop: each connection makes its next call when the last was answered, a send and a read in
turn. The load runs in this process, each server in its own; the two take turns in each era. The
reference answers as the SDK does unless told otherwise: in the older eras as a stream.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import cycle
from statistics import median
from typing import NamedTuple

import uvloop

from benchmarks import servers
from benchmarks.load import TEXT

CONNECTIONS = 16
LEGACY, MODERN = "2025-11-25", "2026-07-28"
ERAS = (LEGACY, MODERN)
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
}
END_OF_STREAM = b"0\r\n\r\n"


class Measured(NamedTuple):
    """Calls a second, the median latency in milliseconds."""

    rate: float
    latency: float


Results = dict[tuple[str, str], list[Measured]]


def run(asked: argparse.Namespace) -> None:
    """Print medians of all rounds and the ratios, at CONNECTIONS connections."""
    with ExitStack() as running:
        ports = {
            "hub": running.enter_context(servers.hub()).port,
            "reference": running.enter_context(servers.reference_mcp()).port,
        }
        results: Results = {(name, era): [] for era in ERAS for name in ports}
        for number in range(asked.rounds + 1):
            for (name, era), measured in results.items():
                one = uvloop.run(_round(ports[name], era, asked.seconds))
                if number:  # the first round warms up
                    measured.append(one)
                    print(f"  {era} {name:9} {one.rate:6.0f} calls/s p50 {one.latency:5.2f} ms")
    for era in ERAS:
        _print(era, results)


async def _round(port: int, era: str, seconds: float) -> Measured:
    latencies: list[float] = []
    stop_at = time.perf_counter() + seconds
    callers = (_call(port, era, place, stop_at, latencies) for place in range(CONNECTIONS))
    await asyncio.gather(*callers)
    return Measured(len(latencies) / seconds, median(latencies) * 1e3)


async def _call(port: int, era: str, place: int, stop_at: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    words = {"sender_id": f"s{place}", "recipient_id": f"r{place}", "message": TEXT}
    requests = [
        tool_call(port, era, "send_message", words),
        tool_call(port, era, "get_messages", {"client_id": f"r{place}"}),
    ]
    for request in cycle(requests):
        started = time.perf_counter()
        if started >= stop_at:
            break
        writer.write(request)
        body = await answer(reader)
        latencies.append(time.perf_counter() - started)
        if b'"isError":false' not in body:
            raise SystemExit(f"a call was refused: {body!r}")
    writer.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of a response, with its length or in chunks."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        return await reader.readuntil(END_OF_STREAM)
    at = head.index(b"content-length:") + 15
    return await reader.readexactly(int(head[at : head.index(b"\r", at)]))


def tool_call(port: int, era: str, tool: str, arguments: Mapping[str, object]) -> bytes:
    """One tool call, ready to be written."""
    params: dict[str, object] = {"name": tool, "arguments": arguments}
    headers = f"Mcp-Protocol-Version: {era}\r\n"
    if era == MODERN:
        params["_meta"] = ENVELOPE
        headers += f"Mcp-Method: tools/call\r\nMcp-Name: {tool}\r\n"
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    content = json.dumps(message).encode()
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}"
        "Accept: application/json, text/event-stream\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _print(era: str, results: Results) -> None:
    hub, reference = results["hub", era], results["reference", era]
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(hub, reference, strict=True)]
    print(
        f"{era}: hub {median(one.rate for one in hub):.0f} calls/s, "
        f"reference {median(one.rate for one in reference):.0f}; ratio {median(ratios):.2f} "
        f"(rounds {min(ratios):.2f} to {max(ratios):.2f}); p50 "
        f"{median(one.latency for one in hub):.2f} ms beside "
        f"{median(one.latency for one in reference):.2f} ms"
    )

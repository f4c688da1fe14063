"""From one hub to another on the same Redis: sends at one, a WebSocket and MCP at the other.

At 500 messages a second in all: most are sent by REST at node A and pushed to sockets at node B;
the rest are questions, asked by REST at node A and answered by MCP at node B, two messages each.
Says also how often a reader found by looking what a hint should have told it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
import urllib.request
from collections import deque
from contextlib import ExitStack
from functools import partial
from statistics import quantiles

import uvloop

from benchmarks import load, servers
from benchmarks.mcp import LEGACY, answer, tool_call
from benchmarks.servers import Server

MESSAGES = 500.0
QUESTIONS = 25.0
PAIRS = 25
MESSAGE_ID = re.compile(rb"m_[\w-]{22}")
NUMBER = re.compile(rb'"text":"(\d+)"')
POLLED = re.compile(r'^agenthub_wakeups_total\{source="poll"\} (\S+)', re.MULTILINE)


def run(asked: argparse.Namespace) -> None:
    """Print the median and the 99th percentile of each round, in milliseconds."""
    with ExitStack() as running:
        url = asked.redis_url or running.enter_context(servers.redis()).url
        a, b = (running.enter_context(servers.hub(url)) for _ in range(2))
        for number in range(min(asked.rounds, 5) + 1):
            used, started = _used(a, b), time.perf_counter()
            delays = uvloop.run(_round(a, b, number, asked.seconds))
            busy = [now - before for now, before in zip(_used(a, b), used, strict=True)]
            if number:  # the first round warms up
                told = (f"{name} {_told(some)}" for name, some in delays.items())
                seconds = time.perf_counter() - started
                shares = " and ".join(f"{one / seconds:.0%}" for one in busy)
                print(f"round {number}: {'; '.join(told)}; A and B busy {shares}")
        print(f"found by looking: {_polled(a) + _polled(b):.0f}")


def _used(a: Server, b: Server) -> tuple[float, float]:
    return a.cpu_seconds, b.cpu_seconds


def _told(delays: list[float]) -> str:
    cuts = quantiles(delays, n=100)
    return f"{len(delays)}, p50 {cuts[49] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms"


def _polled(hub: Server) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{hub.port}/metrics") as response:
        return sum(float(found) for found in POLLED.findall(response.read().decode()))


async def _round(a: Server, b: Server, number: int, seconds: float) -> dict[str, list[float]]:
    """What was waited for: messages, from before the send to arrival; answers by MCP, likewise;
    questions with their answers, there and back.
    """
    pushed, asking = _Pushed(a, b, number), _Questions(a, b, number)
    await pushed.open()
    answering = asyncio.ensure_future(asking.answer_all())
    await asyncio.gather(pushed.send_all(seconds), asking.ask_all(seconds))
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    messages = await pushed.close()
    return {"messages": messages, "answers": asking.back, "questions": asking.both_ways}


class _Pushed:
    """Sends at A that arrive on sockets at B: evenly in time, whatever the last one does."""

    def __init__(self, a: Server, b: Server, number: int) -> None:
        self._a = a
        self._b = b
        # Readers of an earlier round may be owed their last message once more.
        self._readers = [f"reader-{number}-{place}" for place in range(PAIRS)]
        self._listeners: list[load.Listener] = []
        self._callers: list[load.Caller] = []
        self._idle: deque[tuple[load.Caller, int]] = deque()
        self._due: deque[int] = deque()
        self._sent_at: dict[int, float] = {}
        self._delays: list[float] = []
        self._closing: asyncio.Future[None] | None = None

    async def open(self) -> None:
        for place, reader in enumerate(self._readers):
            listener = await load.listen(self._b.port, reader)
            listener.on_frame = self._arrived
            self._listeners.append(listener)
            caller = load.Caller([], partial(self._answered, place))
            caller.stopped = True  # the next is not made by the answer to the last
            self._callers.append(await load.call(self._a.port, caller))
            self._idle.append((caller, place))

    async def send_all(self, seconds: float) -> None:
        rate = MESSAGES - 2 * QUESTIONS
        started = time.perf_counter()
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            self._sent_at[number] = time.perf_counter()
            self._due.append(number)
            self._send()

    def _send(self) -> None:
        while self._due and self._idle:
            number, (caller, place) = self._due.popleft(), self._idle.popleft()
            to = self._readers[place]
            caller.make(load.send_request(self._a.port, f"sender-{place}", to, str(number)))

    def _answered(self, place: int, accepted: bool) -> None:
        if not accepted:
            raise SystemExit("a send was refused")
        self._idle.append((self._callers[place], place))
        self._send()

    def _arrived(self, frame: bytes) -> None:
        found = NUMBER.search(frame)
        if found is not None:
            self._delays.append(time.perf_counter() - self._sent_at.pop(int(found[1])))
            if self._closing is not None and not self._sent_at:
                self._closing.set_result(None)

    async def close(self) -> list[float]:
        """Wait for the last ones, which may be on their way still."""
        if self._sent_at:
            self._closing = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(30):
                await self._closing
        for caller in self._callers:
            caller.close()
        for listener in self._listeners:
            listener.close()
        return self._delays


class _Questions:
    """Questions by REST at A, answered by MCP at B; one after the other."""

    def __init__(self, a: Server, b: Server, number: int) -> None:
        self._a = a
        self._b = b
        self._asker, self._answerer = f"asker-{number}", f"answerer-{number}"
        self.both_ways: list[float] = []
        self.back: list[float] = []
        self._answered_at = 0.0

    async def ask_all(self, seconds: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._a.port)
        body = {"from": self._asker, "to": self._answerer, "text": "ready?", "wait": 30}
        question = load.request(self._a.port, "/api/v1/messages", body)
        started = time.perf_counter()
        for number in range(int(seconds * QUESTIONS)):
            await asyncio.sleep(max(0.0, started + number / QUESTIONS - time.perf_counter()))
            asked_at = time.perf_counter()
            writer.write(question)
            if b'"replied"' not in await answer(reader):
                raise SystemExit("a question was not answered")
            now = time.perf_counter()
            self.both_ways.append(now - asked_at)
            self.back.append(now - self._answered_at)
        writer.close()

    async def answer_all(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._b.port)
        look = {"client_id": self._answerer, "wait": 50}
        while True:
            writer.write(tool_call(self._b.port, LEGACY, "get_messages", look))
            found = MESSAGE_ID.search(await answer(reader))
            if found is not None:
                reply = {"sender_id": self._answerer, "recipient_id": self._asker, "message": "yes"}
                reply["reply_to"] = found[0].decode()
                self._answered_at = time.perf_counter()
                writer.write(tool_call(self._b.port, LEGACY, "send_message", reply))
                await answer(reader)

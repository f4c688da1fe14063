"""`python -m tests.acceptance.load ROLE`: some senders or readers, until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from tests.acceptance.load.hubs import Hubs
from tests.acceptance.load.readers import Reader
from tests.acceptance.load.records import Recorder
from tests.acceptance.load.senders import Sender
from tests.acceptance.load.sockets import SocketReader

ANSWER_SECONDS = 10.0
"""A hub that says nothing for so long is given up."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.load")
    parser.add_argument("role", choices=("send", "rest", "auto", "manual"))
    parser.add_argument("--hub", action="append", required=True)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--readers", type=int, default=1, help="to whom is sent")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between sends")
    asyncio.run(run(parser.parse_args()))


async def run(asked: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    timeout = ClientTimeout(total=ANSWER_SECONDS, sock_connect=2)
    with Recorder(asked.records) as recorder:
        async with ClientSession(timeout=timeout, connector=TCPConnector(limit=0)) as session:
            numbers = range(asked.first, asked.first + asked.count)
            actors = [
                _actor(asked, number, Hubs(session, asked.hub, recorder, number), recorder)
                for number in numbers
            ]
            async with asyncio.TaskGroup() as group:
                for actor in actors:
                    group.create_task(actor.run(stopping))


def _actor(
    asked: argparse.Namespace, number: int, hubs: Hubs, recorder: Recorder
) -> Sender | Reader | SocketReader:
    if asked.role == "send":
        return Sender(number, asked.readers, hubs, recorder, asked.pause)
    if asked.role == "rest":
        return Reader(number, hubs, recorder)
    return SocketReader(number, hubs, recorder, manual=asked.role == "manual")


if __name__ == "__main__":
    main()

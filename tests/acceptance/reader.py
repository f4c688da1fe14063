"""A plain WebSocket client as a program: prints each frame on a line, until it is killed."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import ClientSession


async def main(url: str) -> None:
    async with ClientSession() as session, session.ws_connect(url) as socket:
        async for received in socket:
            sys.stdout.write(f"{received.data}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

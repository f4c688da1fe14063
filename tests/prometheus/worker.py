"""One of several processes scraped as one: `python -m tests.prometheus.worker FOLDER N`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from agent_hub.prometheus import Share
from tests.server import running_hub


async def serve(folder: str, place: str) -> None:
    """Until the standard input ends, on the port that is printed first."""
    async with running_hub(share=Share(Path(folder), int(place))) as hub:
        print(hub.port, flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))

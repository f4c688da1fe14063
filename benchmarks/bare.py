"""The yardstick: an aiohttp handler that parses JSON and answers JSON, and nothing else."""

from __future__ import annotations

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web


async def handle(request: web.Request) -> web.Response:
    """As much JSON in and out as a send has, by aiohttp's own means, with orjson as their codec."""
    body = await request.json(loads=orjson.loads)
    answer = {
        "success": True,
        "message_id": "m_0123456789012345678901",
        "seq": len(body),
        "epoch": "0123456789abcdef",
        "expires_at": "2026-01-01T00:00:00.000Z",
        "durability": "process",
        "recipient": {
            "agent_id": body["to"],
            "status": "active",
            "last_seen": "2026-01-01T00:00:00.000Z",
            "known": True,
        },
    }
    return web.json_bytes_response(answer, dumps=orjson.dumps, status=202)


async def serve(port: int) -> None:
    app = web.Application()
    app.router.add_post("/api/v1/messages", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))

"""A stream of update notifications ends with the credential that opened it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from aiohttp import StreamReader

from agent_hub.core.vigil import CHECK_SECONDS
from tests.auth.guarded import bearer, guarded_hub
from tests.clock import ManualClock
from tests.mcp.door import ENVELOPE, MODERN_HEADERS
from tests.patience import PATIENCE

LISTEN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "subscriptions/listen",
    "params": {"notifications": {"resourceSubscriptions": ["inbox://beta"]}, "_meta": ENVELOPE},
}


async def test_a_stream_of_a_revoked_token_ends_with_an_error(
    tmp_path: Path, clock: ManualClock
) -> None:
    async with guarded_hub(tmp_path, clock) as guarded:
        token = await guarded.token("beta")
        headers = {**MODERN_HEADERS, **bearer(token), "Mcp-Method": "subscriptions/listen"}
        async with guarded.hub.session.post("/mcp", json=LISTEN, headers=headers) as stream:
            assert stream.status == 200
            async with asyncio.timeout(PATIENCE):
                await _event(stream.content)  # it stands
                await guarded.tokens.revoke(token)
                await clock.advance(2 * CHECK_SECONDS)
                ended = await _event(stream.content)
            assert "revoked" in ended["error"]["message"]


async def _event(content: StreamReader) -> dict[str, dict[str, str]]:
    """The data of the next event."""
    while True:
        line = await content.readline()
        assert line, "the stream ended without a word"
        if line.startswith(b"data:") and line[5:].strip():
            told = json.loads(line[5:])
            assert isinstance(told, dict)
            return told

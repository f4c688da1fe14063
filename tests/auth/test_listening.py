"""A stream of update notifications ends with the credential that opened it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
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


async def test_one_principal_leaves_streams_for_others(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_bridge.updates.STREAMS_OF_ONE", 2)
    async with guarded_hub(tmp_path, clock) as guarded, AsyncExitStack() as open_ones:
        beta, other = await guarded.token("beta"), await guarded.token("beta", "gamma", name="g")

        async def listen(token: str) -> dict[str, Any]:
            headers = {**MODERN_HEADERS, **bearer(token), "Mcp-Method": "subscriptions/listen"}
            asked = guarded.hub.session.post("/mcp", json=LISTEN, headers=headers)
            stream = await open_ones.enter_async_context(asked)
            async with asyncio.timeout(PATIENCE):
                return await _event(stream.content)

        for _ in range(2):
            assert "error" not in await listen(beta)
        assert "2 streams" in (await listen(beta))["error"]["message"]
        assert "error" not in await listen(other)
        await guarded.tokens.revoke(beta)
        await clock.advance(2 * CHECK_SECONDS)
        assert "error" not in await listen(await guarded.token("beta"))


async def _event(content: StreamReader) -> dict[str, Any]:
    """The data of the next event, or the one answer of a refused stream."""
    while True:
        line = await content.readline()
        assert line, "the stream ended without a word"
        text = line.removeprefix(b"data:").strip()
        if text.startswith(b"{"):
            told = json.loads(text)
            assert isinstance(told, dict)
            return told

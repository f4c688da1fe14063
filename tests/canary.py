"""Secrets that anybody would know again, planted in whatever the tests start.

A body, a token, a password: none of them may stand in a log, a metric, a problem, or the settings
as they are shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from typing import Any

from aiohttp import ClientError, ClientSession, WSMsgType

from agent_hub.logs import JSONFormatter, TextFormatter

BODY = "canary-body-5b1e"
PASSWORD = "canary-password-5b1e"
TOKEN = f"ah_{'canary' * 2}abcd_{'canary' * 8}abcd"
SECRET = re.compile(r"canary-(body|password)-5b1e|ah_[a-z2-7]{16}_[a-z2-7]{52}|eyJ[\w-]{8,}\.eyJ")
"""Those, and whatever looks like a token of the hub's or a JWT."""

PATIENCE = 5.0
READ = "/api/v1/messages/receive"
MCP_ACCEPTS = {"Accept": "application/json, text/event-stream"}

log_lines = (JSONFormatter(), TextFormatter())


def found_in(text: str) -> str | None:
    """The secret that stands in a text, with what is around it."""
    found = SECRET.search(text)
    if found is None:
        return None
    return text[max(0, found.start() - 200) : found.end() + 50]


class Watcher(logging.Handler):
    """Reads every record as the hub would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        for form in log_lines:
            leak = found_in(form.format(record))
            if leak is not None:
                self.leaks.append(leak)


def calls() -> list[tuple[str, str, Any, dict[str, str]]]:
    """Good and bad calls of the doors, each with a secret or two: method, path, body, headers."""
    message = {"from": "canary", "to": "canary.inbox", "text": BODY, "payload": {BODY: BODY}}
    tool = {
        "name": "send_message",
        "arguments": {"sender_id": "canary", "recipient_id": "canary.inbox", "message": BODY},
    }
    broken_tool = {"name": "send_message", "arguments": {"message": BODY, "ttl": BODY}}
    send, mcp = "/api/v1/messages", "/mcp"
    return [
        ("POST", send, json.dumps(message), {}),
        ("POST", send, json.dumps({**message, "to": BODY * 9}), {}),
        ("POST", send, json.dumps({**message, "unknown": BODY}), {}),
        ("POST", send, json.dumps({**message, "ttl": BODY, "payload": BODY}), {}),
        ("POST", send, f'{{"from": "canary", "text": "{BODY}', {}),
        ("POST", send, BODY, {"Content-Type": "text/plain"}),
        ("POST", READ, '{"agent_id": "canary.inbox"}', {}),
        ("GET", "/api/v1/agents", None, {}),
        ("POST", mcp, rpc("tools/call", tool), MCP_ACCEPTS),
        ("POST", mcp, rpc("tools/call", broken_tool), MCP_ACCEPTS),
        ("POST", mcp, rpc("tools/unknown", {"message": BODY}), MCP_ACCEPTS),
        ("GET", "/ws/canary.socket", None, {}),
    ]


def rpc(method: str, params: dict[str, Any]) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


async def plant(session: ClientSession) -> None:
    """Ask a hub, in whatever state a test has left it, with secrets; look at what it says."""
    with contextlib.suppress(ClientError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(_call(session, *one) for one in calls()))
            await _frames(session)
            async with session.get("/metrics") as response:
                assert found_in(await response.text()) is None


async def _call(
    session: ClientSession, method: str, path: str, body: str | None, headers: dict[str, str]
) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}", **headers}
    async with session.request(method, path, data=body, headers=headers) as response:
        told = await response.text()
        if path != READ:  # there a body belongs
            assert (response.status, found_in(told)) == (response.status, None)


async def _frames(session: ClientSession) -> None:
    """Good and bad frames on a socket."""
    async with session.ws_connect("/ws/canary.socket?events=none") as socket:
        for frame in (
            json.dumps({"type": "message", "to": "canary.inbox", "text": BODY}),
            json.dumps({"type": "message", "to": "canary.inbox", "text": BODY, "ttl": BODY}),
            f'{{"text": "{BODY}',
        ):
            await socket.send_str(frame)
        answers = 0
        while answers < 3:
            received = await socket.receive()
            if received.type is not WSMsgType.TEXT:
                return
            told = received.data
            answers += '"hub.accepted"' in told or '"hub.error"' in told
            if '"hub.error"' in told:
                assert found_in(told) is None

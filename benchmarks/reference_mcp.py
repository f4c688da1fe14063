"""The SDK's own MCPServer under uvicorn with the five tools: what the MCP door is measured beside.

It keeps messages in plain lists and has no rules: whatever it costs is the SDK's transport.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TypedDict

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

server = MCPServer("reference", log_level="ERROR")
inboxes: defaultdict[str, list[str]] = defaultdict(list)


class Accepted(TypedDict):
    message_id: str
    unread: int


class Mail(TypedDict):
    messages: list[str]


class Identity(TypedDict):
    file: str


@server.tool()
async def checkin_client(client_id: str, name: str, capabilities: str = "") -> Accepted:
    """Join."""
    return {"message_id": client_id, "unread": len(inboxes[client_id])}


@server.tool()
async def send_message(
    sender_id: str,
    recipient_id: str,
    message: str,
    reply_to: str | None = None,
    ttl: float | None = None,
    idempotency_key: str | None = None,
) -> Accepted:
    """Send."""
    inboxes[recipient_id].append(message)
    return {"message_id": "m", "unread": len(inboxes[sender_id])}


@server.tool()
async def send_message_and_wait(
    sender_id: str,
    recipient_id: str,
    message: str,
    timeout: float = 60,
    reply_to: str | None = None,
    idempotency_key: str | None = None,
) -> Accepted:
    """Ask."""
    return await send_message(sender_id, recipient_id, message)


@server.tool()
async def get_messages(client_id: str, since: str | None = None, wait: float = 0) -> Mail:
    """Read."""
    return {"messages": inboxes.pop(client_id, [])}


@server.tool()
async def get_my_identity() -> Identity:
    """Who am I."""
    return {"file": "mcp_recipients.json"}


if __name__ == "__main__":
    app = server.streamable_http_app(
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[-1]), log_level="error", access_log=False)

"""What every client does here, with the Python SDK 1.x. Run by the venv of that SDK.

Arguments: the hub's address. Says `ready`, waits for a line (the hub is restarted), says `done`.
"""

import asyncio
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl


async def main(url: str) -> None:
    async with streamablehttp_client(url) as (reading, writing, _):
        async with ClientSession(reading, writing) as session:
            await session.initialize()
            assert len((await session.list_tools()).tools) == 5
            await exchange(session, "before")
            assert "agents" in str(await session.read_resource(AnyUrl("agents://")))
            assert "No messages" in str(await session.read_resource(AnyUrl("inbox://Beta_1")))
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            await exchange(session, "after")
            print("done", flush=True)


async def exchange(session: ClientSession, text: str) -> None:
    words = {"sender_id": "Alpha_1", "recipient_id": "Beta_1", "message": text}
    await session.call_tool("send_message", words)
    read = await session.call_tool("get_messages", {"client_id": "Beta_1"})
    assert not read.isError and text in str(read.content), read
    wait = await session.call_tool("send_message_and_wait", {**words, "timeout": 0.1})
    assert "No reply yet" in str(wait.content), wait
    await session.call_tool("get_messages", {"client_id": "Beta_1"})


asyncio.run(main(sys.argv[1]))

"""The same as session_1.py with the Python SDK 2.x."""

import asyncio
import sys

from mcp.client import Client


async def main(url: str) -> None:
    async with Client(url) as client:
        assert len((await client.list_tools()).tools) == 5
        await exchange(client, "before")
        assert "agents" in str(await client.read_resource("agents://"))
        assert "No messages" in str(await client.read_resource("inbox://Beta_1"))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await exchange(client, "after")
        print("done", flush=True)


async def exchange(client: Client, text: str) -> None:
    words = {"sender_id": "Alpha_1", "recipient_id": "Beta_1", "message": text}
    await client.call_tool("send_message", words)
    read = await client.call_tool("get_messages", {"client_id": "Beta_1"})
    assert not read.is_error, read
    assert text in str(read.content), read
    wait = await client.call_tool("send_message_and_wait", {**words, "timeout": 0.1})
    assert "No reply yet" in str(wait.content), wait
    await client.call_tool("get_messages", {"client_id": "Beta_1"})


asyncio.run(main(sys.argv[1]))

"""Inboxes, messages and agents as resources, and the streams that tell of mail."""

from __future__ import annotations

import asyncio
import json

import pytest
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, TextResourceContents

from mcp_bridge.updates import PAUSE_SECONDS
from tests.clock import ManualClock
from tests.mcp.door import MODERN, Ide, ide
from tests.server import RunningHub
from tests.web.caller import Caller


async def read(one: Ide, uri: str) -> str:
    [contents] = (await one.client.read_resource(uri)).contents
    assert isinstance(contents, TextResourceContents)
    assert contents.uri == uri
    return contents.text


async def test_looking_at_an_inbox_takes_nothing(rest: Caller, alpha: Ide) -> None:
    assert await read(alpha, "inbox://alpha") == "No messages."
    sent = await rest.send("beta", "alpha", "hello")
    assert f"--- begin {sent['message_id']}\nhello\n" in await read(alpha, "inbox://alpha")
    assert [message["attempt"] for message in await alpha.read("alpha")] == [1]


async def test_a_message_can_be_read_whole_before_and_after_it_was_taken(
    rest: Caller, alpha: Ide
) -> None:
    sent = await rest.send("beta", "alpha", "x" * 50_000)
    uri = f"message://alpha/{sent['message_id']}"
    assert json.loads(await read(alpha, uri))["text"] == "x" * 50_000
    await alpha.read("alpha")
    assert json.loads(await read(alpha, uri))["text"] == "x" * 50_000


async def test_the_agents_are_listed(rest: Caller, alpha: Ide) -> None:
    await rest.register("beta")
    listed = (await alpha.client.list_resources()).resources
    assert [resource.uri for resource in listed] == ["agents://"]
    assert json.loads(await read(alpha, "agents://"))["total"] == 1
    templates = (await alpha.client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == [
        "inbox://{client_id}",
        "message://{client_id}/{id}",
    ]


@pytest.mark.parametrize(
    "uri", ["message://alpha/m_xxxxxxxxxxxxxxxxxxxxxx", "inbox://no spaces", "file:///etc/passwd"]
)
async def test_what_does_not_exist_is_said_not_to(alpha: Ide, uri: str) -> None:
    with pytest.raises(MCPError) as refused:
        await alpha.client.read_resource(uri)
    assert refused.value.error.code == INVALID_PARAMS
    assert refused.value.error.data["uri"] == uri


async def test_a_stream_tells_when_mail_arrives_and_at_most_once_in_a_pause(
    rest: Caller, served: RunningHub, clock: ManualClock
) -> None:
    async with ide(served, MODERN) as alpha:

        async def listen() -> list[str]:
            uris = []
            async with alpha.client.listen(resource_subscriptions=["inbox://alpha"]) as events:
                listening.set()
                async for event in events:
                    assert isinstance(event, ResourceUpdated)
                    uris.append(event.uri)
                    seen.set()
            return uris

        listening, seen = asyncio.Event(), asyncio.Event()
        stream = asyncio.create_task(listen())
        await listening.wait()
        for _ in range(5):
            await rest.send("beta", "alpha")
        await rest.send("alpha", "beta")
        await seen.wait()
        seen.clear()
        await clock.advance(PAUSE_SECONDS)
        await seen.wait()
        assert clock.pending > 0
        await served.app.shutdown()
        assert await stream == ["inbox://alpha", "inbox://alpha"]


async def test_an_inbox_that_cannot_be_is_not_listened_to(served: RunningHub) -> None:
    async with ide(served, MODERN) as alpha:
        with pytest.raises(MCPError):
            async with alpha.client.listen(resource_subscriptions=["inbox://no spaces"]):
                pass

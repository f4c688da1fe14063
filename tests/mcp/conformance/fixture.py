"""A server with what the suite's scenarios call by name, on the hub's own transport.

The hub has no image to return and nobody to sample; the suite asks for both. So that the
transport is held to those scenarios all the same, the SDK's server stands on it here.
"""

from __future__ import annotations

import argparse
import base64
from typing import Any

from aiohttp import web
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
)

from agent_hub.clock import SystemClock
from agent_hub.core.principal import Principal
from mcp_bridge.mounting import PATHS, Mounting

IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
AUDIO = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="

server = MCPServer("conformance-fixture", version="1", log_level="ERROR")


# --- tools --------------------------------------------------------------------------------


@server.tool(structured_output=False)
def test_simple_text() -> str:
    """Answer with text."""
    return "This is a simple text response for testing."


@server.tool(structured_output=False)
def test_image_content() -> list[ImageContent]:
    """Answer with an image."""
    return [_image()]


@server.tool(structured_output=False)
def test_audio_content() -> list[AudioContent]:
    """Answer with a sound."""
    return [AudioContent(type="audio", data=AUDIO, mime_type="audio/wav")]


@server.tool(structured_output=False)
def test_embedded_resource() -> list[EmbeddedResource]:
    """Answer with a resource."""
    return [_embedded("test://embedded-resource", "text/plain", "This is an embedded resource.")]


@server.tool(structured_output=False)
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Answer with three kinds of content."""
    json = '{"test": "data", "value": 123}'
    return [
        TextContent(type="text", text="Multiple content types test:"),
        _image(),
        _embedded("test://mixed-content-resource", "application/json", json),
    ]


@server.tool(structured_output=False)
def test_error_handling() -> str:
    """Fail."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@server.tool(structured_output=False)
async def test_tool_with_progress(ctx: Context) -> str:
    """Report progress."""
    for progress in (0, 50, 100):
        await ctx.report_progress(progress, 100, f"Completed step {progress} of 100")
    return "done"


@server.tool(structured_output=False)
async def test_tool_with_logging(ctx: Context) -> str:
    """Log to the client, which may have asked for it."""
    for step in ("started", "processing data", "completed"):
        await ctx.session.send_log_message(
            "info", f"Tool {step}", related_request_id=ctx.request_id
        )
    return "logged"


@server.tool(structured_output=False)
async def test_logging_tool(ctx: Context) -> str:
    """Log to a client that did not ask for it."""
    return await test_tool_with_logging(ctx)


@server.tool(structured_output=False)
def test_missing_capability(ctx: Context) -> str:
    """Need what the client did not declare."""
    capabilities = ctx.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        needed: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "sampling is needed", data=needed)
    return "sampling is there"


@server.tool(structured_output=False)
async def test_streaming_elicitation(ctx: Context) -> str:
    """Answer as a stream, and ask nobody."""
    await ctx.report_progress(1, 1)
    return "asked nobody"


@server.tool(structured_output=False)
async def test_trigger_tool_change(ctx: Context) -> str:
    """Say that the tools changed."""
    await ctx.notify_tools_changed()
    return "changed"


@server.tool(structured_output=False)
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Say that the prompts changed."""
    await ctx.notify_prompts_changed()
    return "changed"


# --- resources, prompts, completion -------------------------------------------------------


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image."""
    return base64.b64decode(IMAGE)


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:  # noqa: A002 - the suite's own name
    """Any id's data."""
    return f'{{"id": "{id}", "templateTest": true, "data": "Data for ID: {id}"}}'


@server.prompt()
def test_simple_prompt() -> list[UserMessage]:
    """A prompt."""
    return [UserMessage("This is a simple prompt for testing.")]


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """A prompt with arguments."""
    return [UserMessage(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
    """A prompt with a resource."""
    embedded = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(embedded), UserMessage("Please process the embedded resource above.")]


@server.prompt()
def test_prompt_with_image() -> list[UserMessage]:
    """A prompt with an image."""
    return [UserMessage(_image()), UserMessage("Please analyze the image above.")]


@server.completion()  # type: ignore[no-untyped-call, untyped-decorator]
async def complete(ref: Any, argument: Any, context: Any) -> Completion:
    return Completion(values=[], total=0, has_more=False)


async def set_level(context: Any, params: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


server._lowlevel_server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)


def _image() -> ImageContent:
    return ImageContent(type="image", data=IMAGE, mime_type="image/png")


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return EmbeddedResource(type="resource", resource=contents)


# --- its transport ------------------------------------------------------------------------


def make_app() -> web.Application:
    """The fixture where the hub has its tools; every answer may be a stream."""
    mounting = Mounting(
        server._lowlevel_server,
        SystemClock(),
        may_wait=lambda message: True,
        max_body_bytes=1024 * 1024,
        read_body=lambda request: request.read(),
        request_id=lambda request: "",
        caller=lambda request: Principal("mcp"),
        scheme=lambda request: request.scheme,
        on_head=lambda request, headers: None,
    )
    app = web.Application()
    for path in PATHS:
        app.router.add_post(path, mounting.post)
    app.cleanup_ctx.append(mounting.lifetime)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    web.run_app(make_app(), host="127.0.0.1", port=parser.parse_args().port, print=None)

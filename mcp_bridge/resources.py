"""Inboxes, messages and agents as resources: to look at, never to take."""

from __future__ import annotations

import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from agent_hub.core.bounds import MAX_LOOKED_AT
from agent_hub.core.errors import HubError, Invalid, NotFound
from agent_hub.core.hub import Hub
from agent_hub.core.message import Cursor, Delivery
from agent_hub.core.visible import clean
from agent_hub.wire import agents, messages, problems
from mcp_bridge import rendering
from mcp_bridge.call import Context, caller, request_id

AGENTS = "agents://"
INBOX = "inbox://"
MESSAGE = "message://"
JSON = "application/json"
MARKDOWN = "text/markdown"
SHOWN = 50

_encode = msgspec.json.Encoder().encode


class Resources:
    """Answers `resources/list`, `resources/templates/list` and `resources/read`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def list(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        here = Resource(
            name="agents", uri=AGENTS, mime_type=JSON, description="Who is registered at the hub"
        )
        return ListResourcesResult(resources=[here])

    async def templates(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        inbox = ResourceTemplate(
            name="inbox",
            uri_template=f"{INBOX}{{client_id}}",
            mime_type=MARKDOWN,
            description="What waits for an agent; looking takes nothing",
        )
        message = ResourceTemplate(
            name="message",
            uri_template=f"{MESSAGE}{{client_id}}/{{id}}",
            mime_type=JSON,
            description="One message in an agent's inbox, whole",
        )
        return ListResourceTemplatesResult(resource_templates=[inbox, message])

    async def read(self, context: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        """Raises the protocol's invalid params for what does not exist."""
        try:
            text, mime_type = await self._text(context, params.uri)
        except HubError as refusal:
            code = INVALID_PARAMS if isinstance(refusal, NotFound | Invalid) else INTERNAL_ERROR
            problem = msgspec.to_builtins(problems.problem(refusal, request_id(context)))
            data = {"uri": params.uri, "problem": problem}
            raise MCPError(code, refusal.detail, data=data) from None
        contents = TextResourceContents(uri=params.uri, mime_type=mime_type, text=text)
        return ReadResourceResult(contents=[contents])

    async def _text(self, context: Context, uri: str) -> tuple[str, str]:
        """The text behind a URI and its media type."""
        if uri.rstrip("/") == AGENTS.rstrip("/"):
            return await self._agents(context), JSON
        agent_id = inbox_of(uri)
        if agent_id is not None:
            return await self._inbox(context, agent_id), MARKDOWN
        if uri.startswith(MESSAGE):
            agent_id, _, message_id = uri.removeprefix(MESSAGE).partition("/")
            return await self._message(context, agent_id, message_id), JSON
        raise NotFound(f"no resource is at {clean(uri)}")

    async def _agents(self, context: Context) -> str:
        found = await self._hub.agents(caller(context))
        return _encode(agents.agents_answer(found)).decode()

    async def _inbox(self, context: Context, agent_id: str) -> str:
        page = await self._hub.look(caller(context), agent_id, limit=SHOWN)
        if not page.deliveries:
            return "No messages."
        shown = rendering.messages(page.deliveries, agent_id, self._hub.time())
        more = page.total - len(page.deliveries)
        return f"{shown}\n\nand {more} more" if more else shown

    async def _message(self, context: Context, agent_id: str, message_id: str) -> str:
        delivery = await self._find(context, agent_id, message_id)
        if delivery is None:
            raise NotFound(f"{agent_id} has no message {clean(message_id)}, or no longer")
        return _encode(messages.view(delivery)).decode()

    async def _find(self, context: Context, agent_id: str, message_id: str) -> Delivery | None:
        """Among those that wait and those that were read and are still kept."""
        who = caller(context)
        waiting = await self._hub.look(who, agent_id, limit=MAX_LOOKED_AT)
        found = _with_id(waiting.deliveries, message_id)
        if found is not None or waiting.cursor is None:
            return found
        beginning = Cursor(waiting.cursor.epoch, 0)
        everything = await self._hub.look(who, agent_id, since=str(beginning), limit=MAX_LOOKED_AT)
        return _with_id(everything.deliveries, message_id)


def inbox_of(uri: str) -> str | None:
    """Whose inbox a URI names; None for any other."""
    return uri.removeprefix(INBOX).rstrip("/") if uri.startswith(INBOX) else None


def _with_id(deliveries: list[Delivery], message_id: str) -> Delivery | None:
    return next((d for d in deliveries if d.message.id == message_id), None)

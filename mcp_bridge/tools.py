"""The five tools: decode, one call of the hub, encode."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from msgspec import Raw

from agent_hub.core.agent import MAX_CAPABILITIES, MAX_CAPABILITY_CHARACTERS, Agent
from agent_hub.core.bounds import MAX_ASK_SECONDS, MAX_LOOKED_AT
from agent_hub.core.clock import Clock
from agent_hub.core.errors import HubError, Internal, Invalid
from agent_hub.core.hub import Hub
from agent_hub.core.mail import Page, State
from agent_hub.core.message import Cursor, Delivery, Draft
from agent_hub.core.visible import clean
from agent_hub.wire import messages
from mcp_bridge.answers import Answer, Answers, identity, refused
from mcp_bridge.arguments import (
    CheckinClient,
    GetMessages,
    SendMessage,
    SendMessageAndWait,
    decode,
    in_words_of,
    tools,
)
from mcp_bridge.call import (
    Context,
    caller,
    progress_token,
    request_id,
    telling_progress,
    traceparent,
    until_written,
)

log = logging.getLogger(__name__)

MAX_TAKEN = 50
MAX_TAKEN_BYTES = 64 * 1024
SAFE_SECONDS = 57.0
"""Common clients give a call up after 60 s; this answers before they do."""
CLIENTS_PATIENCE = 60.0

POINTERS = {
    "/agent_id": "/client_id",
    "/from": "/sender_id",
    "/to": "/recipient_id",
}
ASK_POINTERS = {**POINTERS, "/wait": "/timeout"}


class Tools:
    """Answers `tools/list` and `tools/call`."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
        self._answers = Answers(hub)
        self._listed = tools()
        self._tools: dict[str, Callable[[Context, Any], Awaitable[Answer]]] = {
            "checkin_client": self.checkin_client,
            "send_message": self.send_message,
            "send_message_and_wait": self.send_message_and_wait,
            "get_messages": self.get_messages,
            "get_my_identity": self.get_my_identity,
        }

    async def list(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=self._listed)

    def input_schema(self, name: str) -> dict[str, Any] | None:
        return next((tool.input_schema for tool in self._listed if tool.name == name), None)

    async def call(self, context: Context, params: CallToolRequestParams) -> CallToolResult:
        """The tool's answer; a refusal is a result with `isError` and the problem object."""
        tool = self._tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            answer = await tool(context, decode(params.name, params.arguments))
        except HubError as refusal:
            return _result(refused(context, _renamed(refusal, params.name)), is_error=True)
        except Exception:
            log.exception("a tool failed", extra={"request_id": request_id(context)})
            return _result(refused(context, Internal()), is_error=True)
        return _result(answer)

    # --- the five -------------------------------------------------------------------------

    async def checkin_client(self, context: Context, given: CheckinClient) -> Answer:
        agent = Agent(
            agent_id=given.client_id,
            name=given.name,
            capabilities=_capabilities(given.capabilities),
        )
        registered = await self._hub.register(caller(context), agent)
        return await self._answers.checked_in(context, agent.agent_id, registered.peers)

    async def send_message(self, context: Context, given: SendMessage) -> Answer:
        draft = _draft(context, given, ttl=given.ttl)
        sent = await self._hub.send(caller(context), draft)
        return await self._answers.accepted(context, draft, sent)

    async def send_message_and_wait(self, context: Context, given: SendMessageAndWait) -> Answer:
        draft = _draft(context, given)
        seconds = _patience(given.timeout, has_token=progress_token(context) is not None)
        with anyio.CancelScope(shield=True):  # asked or not asked, and never half
            sent, question = await self._hub.ask(caller(context), draft, seconds)
        async with until_written(context, question):
            async with telling_progress(context, self._clock, seconds, draft.to):
                wait = await question.answered()
            return await self._answers.waited(context, draft, sent, wait)

    async def get_messages(self, context: Context, given: GetMessages) -> Answer:
        again = await self._read_before(context, given)
        seen = again.deliveries if again else []
        if again is not None and again.total > len(seen):
            # What was read before comes first, and all of it: the cursor must not pass over any.
            return await self._answers.mail(context, given.client_id, seen, None, again)
        taking = await self._hub.receive(
            caller(context),
            given.client_id,
            limit=MAX_TAKEN,
            max_bytes=MAX_TAKEN_BYTES,
            wait=0 if seen else given.wait,
        )
        async with until_written(context, taking):
            leased = await taking.leased()
            shown = [*seen, *leased.deliveries]
            return await self._answers.mail(context, given.client_id, shown, leased.cursor, again)

    async def get_my_identity(self, context: Context, given: object) -> Answer:
        return identity(context)

    async def _read_before(self, context: Context, given: GetMessages) -> Page | None:
        """What was read after the cursor and is still kept, as much as one call hands out.

        None when no cursor was given. `total` counts all that was read.
        """
        if given.since is None:
            return None
        Cursor.parse(given.since, "/since")
        page = await self._hub.look(
            caller(context), given.client_id, since=given.since, limit=MAX_LOOKED_AT
        )
        read = [delivery for delivery in page.deliveries if delivery.state == State.ACKED]
        page.total, page.deliveries = len(read), _as_many_as_fit(read)
        for delivery in page.deliveries:
            delivery.attempt += 1
        return page


def _draft(
    context: Context, given: SendMessage | SendMessageAndWait, *, ttl: float | None = None
) -> Draft:
    """What the model wrote. An object for `message` is a payload, as everywhere."""
    body = messages.SendBody(
        sender=given.sender_id,
        to=given.recipient_id,
        message=Raw(msgspec.json.encode(given.message)),
        reply_to=given.reply_to,
        ttl=ttl,
    )
    return messages.draft_of(
        body, idempotency_key=given.idempotency_key, traceparent=traceparent(context)
    )


def _patience(timeout: float, *, has_token: bool) -> float:
    """How long to wait: most clients cut a call at 60 s, unless they hear of its progress."""
    if not SAFE_SECONDS < timeout <= MAX_ASK_SECONDS:
        return timeout
    return timeout if has_token and timeout > CLIENTS_PATIENCE else SAFE_SECONDS


def _capabilities(given: object) -> tuple[str, ...]:
    """Whatever a model lists, cut to the limits; this is never a reason to refuse."""
    listed = given.split(",") if isinstance(given, str) else given
    words = listed if isinstance(listed, list | dict) else ()
    named = (" ".join(clean(one).split()) for one in words if isinstance(one, str))
    cut = (one[:MAX_CAPABILITY_CHARACTERS].strip() for one in named)
    return tuple(dict.fromkeys(one for one in cut if one))[:MAX_CAPABILITIES]


def _as_many_as_fit(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The first of them, within what one call hands out."""
    fitting: list[Delivery] = []
    room = MAX_TAKEN_BYTES
    for delivery in deliveries[:MAX_TAKEN]:
        room -= delivery.message.size
        if fitting and room < 0:
            break
        fitting.append(delivery)
    return fitting


def _renamed(refusal: HubError, tool: str) -> HubError:
    if not isinstance(refusal, Invalid):
        return refusal
    return in_words_of(refusal, ASK_POINTERS if tool == "send_message_and_wait" else POINTERS)


def _result(answer: Answer, *, is_error: bool = False) -> CallToolResult:
    text, structured = answer
    content = TextContent(type="text", text=text)
    return CallToolResult(content=[content], structured_content=structured, is_error=is_error)

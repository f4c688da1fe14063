"""The five tools: decode, one call of the hub, encode."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

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

from agent_hub.core.agent import (
    MAX_CAPABILITIES,
    MAX_CAPABILITY_CHARACTERS,
    Agent,
)
from agent_hub.core.bounds import MAX_ASK_SECONDS, MAX_LOOKED_AT
from agent_hub.core.clock import Clock
from agent_hub.core.errors import HubError, Internal, Invalid
from agent_hub.core.hub import Hub
from agent_hub.core.message import Cursor, Delivery, Draft
from agent_hub.core.queue_backend import Page, State
from agent_hub.wire import messages, problems
from mcp_bridge import rendering
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
    own_url,
    progress_token,
    report_progress,
    request_id,
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

Answer = tuple[str, dict[str, Any]]
"""Markdown, and the same for programs."""


class Tools:
    """Answers `tools/list` and `tools/call`."""

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub = hub
        self._clock = clock
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
            text, structured = await tool(context, decode(params.name, params.arguments))
        except HubError as refusal:
            return _refused(_renamed(refusal, params.name), context)
        except Exception:
            log.exception("a tool failed", extra={"request_id": request_id(context)})
            return _refused(Internal("the hub failed; its log knows more"), context)
        return CallToolResult(content=[_text(text)], structured_content=structured)

    # --- the five -------------------------------------------------------------------------

    async def checkin_client(self, context: Context, given: CheckinClient) -> Answer:
        agent = Agent(
            agent_id=given.client_id,
            name=given.name,
            capabilities=_capabilities(given.capabilities),
        )
        registered = await self._hub.register(caller(context), agent)
        text = f"You are `{agent.agent_id}`. {rendering.peers(registered.peers)}"
        peers = [
            {
                "agent_id": peer.agent_id,
                "name": peer.name,
                "status": status.value,
                "capabilities": list(peer.capabilities),
            }
            for peer, status in registered.peers[: rendering.MAX_LISTED]
        ]
        answer = {"success": True, "agent_id": agent.agent_id, "peers": peers}
        return await self._with_unread(context, agent.agent_id, text, answer)

    async def send_message(self, context: Context, given: SendMessage) -> Answer:
        draft = _draft(context, given, ttl=given.ttl)
        sent = await self._hub.send(caller(context), draft)
        text = rendering.sent(sent, draft.to, self._clock.time())
        answer = messages.answer_of(sent, draft.to, self._hub.durability)
        structured = msgspec.to_builtins(answer)
        return await self._with_unread(context, draft.sender, text, structured)

    async def send_message_and_wait(self, context: Context, given: SendMessageAndWait) -> Answer:
        draft = _draft(context, given)
        seconds = _patience(given.timeout, has_token=progress_token(context) is not None)
        sent, question = await self._hub.ask(caller(context), draft, seconds)
        async with until_written(context, question):
            async with self._progress(context, seconds, draft.to):
                wait = await question.answered()
            answer = msgspec.to_builtins(messages.sent_answer(sent, draft.to, self._hub.durability))
            answer["status"] = wait.state.value
            reply = wait.delivery
            answer["reply"] = None if reply is None else rendering.structured(reply)
            answer["cursor"] = await self._cursor(context, draft.sender, reply)
            text = rendering.reply(
                wait.state, reply, question.question_id, draft.sender, draft.to, self._clock.time()
            )
            return await self._with_unread(context, draft.sender, text, answer)

    async def get_messages(self, context: Context, given: GetMessages) -> Answer:
        again = await self._read_before(context, given)
        if again is not None and again.total > len(again.deliveries):
            # What was read before comes first, and all of it: the cursor must not pass over any.
            return await self._mail(context, given, again.deliveries, None, again)
        seen = again.deliveries if again else []
        taking = await self._hub.receive(
            caller(context),
            given.client_id,
            limit=MAX_TAKEN,
            max_bytes=MAX_TAKEN_BYTES,
            wait=0 if seen else given.wait,
        )
        async with until_written(context, taking):
            leased = await taking.leased()
            shown = seen + leased.deliveries
            return await self._mail(context, given, shown, leased.cursor, again)

    async def _mail(
        self,
        context: Context,
        given: GetMessages,
        shown: Sequence[Delivery],
        position: Cursor | None,
        again: Page | None,
    ) -> Answer:
        """`position` is the cursor when there is nothing to show."""
        cursor = _newest(shown) or position
        text = "No messages."
        if shown:
            text = rendering.messages(shown, given.client_id, self._clock.time())
            text += f"\n\nCursor: {cursor}"
        answer: dict[str, Any] = {
            "messages": [rendering.structured(delivery) for delivery in shown],
            "cursor": None if cursor is None else str(cursor),
        }
        if again is not None:
            answer["recovered"] = again.recovered
        return await self._with_unread(context, given.client_id, text, answer)

    async def get_my_identity(self, context: Context, given: object) -> Answer:
        example = {
            "my_id": "cursor_client_1",
            "recipients": {
                "vscode_client_1": {
                    "name": "VS Code instance",
                    "description": "the API team's editor",
                }
            },
            "server_info": {"url": own_url(context), "transport": "http_streamable"},
        }
        text = (
            "Read `mcp_recipients.json` in the root of your project: `my_id` is your id "
            "(client_id and sender_id in the other tools), the keys of `recipients` are whom you "
            "can write to. If there is no such file, ask your user for your id, or make one up, "
            "and offer to write the file:\n\n"
            f"```json\n{msgspec.json.format(msgspec.json.encode(example)).decode()}\n```"
        )
        return text, {"file": "mcp_recipients.json", "example": example}

    # --- what they share ------------------------------------------------------------------

    async def _with_unread(
        self, context: Context, agent_id: str, text: str, answer: dict[str, Any]
    ) -> Answer:
        """The answer with what waits to be read, so that a model hears of mail by itself."""
        unread = await self._hub.unread(caller(context), agent_id)
        answer["unread"] = unread.total
        line = rendering.unread(unread)
        return (f"{text}\n\n{line}" if line else text), answer

    @asynccontextmanager
    async def _progress(self, context: Context, seconds: float, asked: str) -> AsyncIterator[None]:
        task = asyncio.ensure_future(report_progress(context, self._clock, seconds, asked))
        try:
            yield
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Exception):  # the wait itself is none the worse
                log.error("progress could not be told", exc_info=ended)

    async def _cursor(
        self, context: Context, agent_id: str, delivery: Delivery | None
    ) -> str | None:
        if delivery is not None:
            return str(delivery.cursor)
        position = await self._hub.position(caller(context), agent_id)
        return None if position is None else str(position)

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


def _capabilities(given: str | Sequence[str]) -> tuple[str, ...]:
    """Whatever a model lists, cut to the limits; this is never a reason to refuse."""
    listed = given.split(",") if isinstance(given, str) else given
    named = (" ".join(rendering.clean(one).split()) for one in listed)
    cut = (one[:MAX_CAPABILITY_CHARACTERS].strip() for one in named)
    return tuple(dict.fromkeys(one for one in cut if one))[:MAX_CAPABILITIES]


def _as_many_as_fit(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """The first of them, within what one call hands out."""
    fitting: list[Delivery] = []
    for delivery in deliveries[:MAX_TAKEN]:
        if fitting and _bytes(fitting) + delivery.message.size > MAX_TAKEN_BYTES:
            break
        fitting.append(delivery)
    return fitting


def _bytes(deliveries: Sequence[Delivery]) -> int:
    return sum(delivery.message.size for delivery in deliveries)


def _newest(deliveries: Sequence[Delivery]) -> Cursor | None:
    newest = max(deliveries, key=lambda delivery: delivery.message.seq, default=None)
    return None if newest is None else newest.cursor


def _renamed(refusal: HubError, tool: str) -> HubError:
    if not isinstance(refusal, Invalid):
        return refusal
    return in_words_of(refusal, ASK_POINTERS if tool == "send_message_and_wait" else POINTERS)


def _refused(refusal: HubError, context: Context) -> CallToolResult:
    problem = problems.problem(refusal, request_id(context))
    return CallToolResult(
        content=[_text(rendering.refusal(problem))],
        structured_content=msgspec.to_builtins(problem),
        is_error=True,
    )


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)

"""The answers of the five tools: Markdown for a model, and the same for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agent_hub.core.agent import Agent, Status
from agent_hub.core.errors import HubError
from agent_hub.core.hub import Hub
from agent_hub.core.mail import Page, Wait
from agent_hub.core.message import Cursor, Delivery, Draft
from agent_hub.core.principal import ANY_END, Principal
from agent_hub.core.sending import Broadcast, Sent
from agent_hub.core.visible import clean
from agent_hub.wire import messages, problems
from mcp_bridge import rendering
from mcp_bridge.call import Context, caller, own_url, request_id

Answer = tuple[str, dict[str, Any]]
"""Markdown and structure."""

IDENTITY_FILE = "mcp_recipients.json"
EXAMPLE_ID = "cursor_client_1"


class Answers:
    """Makes them. Each but the identity ends with what waits to be read by the one who called."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def checked_in(
        self, context: Context, agent_id: str, peers: Sequence[tuple[Agent, Status]]
    ) -> Answer:
        text = f"You are `{agent_id}`. {rendering.peers(peers)}"
        shown = [_peer(*peer) for peer in peers[: rendering.MAX_LISTED]]
        answer = {"success": True, "agent_id": agent_id, "peers": shown}
        return await self._with_unread(context, agent_id, text, answer)

    async def accepted(self, context: Context, draft: Draft, sent: Sent | Broadcast) -> Answer:
        text = rendering.sent(sent, draft.to, self._hub.time())
        answer = messages.answer_of(sent, draft.to, self._hub.durability)
        return await self._with_unread(context, draft.sender, text, msgspec.to_builtins(answer))

    async def waited(self, context: Context, draft: Draft, sent: Sent, wait: Wait) -> Answer:
        """What became of a question."""
        reply = wait.delivery
        cursor = await self._hub.position(caller(context), draft.sender, reply)
        answer = msgspec.to_builtins(messages.sent_answer(sent, draft.to, self._hub.durability))
        answer |= {
            "status": wait.state.value,
            "reply": None if reply is None else rendering.structured(reply),
            "cursor": _text_of(cursor),
        }
        text = rendering.waited(draft, sent, wait, self._hub.time())
        return await self._with_unread(context, draft.sender, text, answer)

    async def mail(
        self,
        context: Context,
        agent_id: str,
        shown: Sequence[Delivery],
        position: Cursor | None,
        again: Page | None,
    ) -> Answer:
        """`position` is the cursor when nothing is shown; `again` is what was read before."""
        cursor = _newest(shown) or position
        text = "No messages."
        if shown:
            text = rendering.messages(shown, agent_id, self._hub.time())
            text += f"\n\nCursor: {cursor}"
        answer: dict[str, Any] = {
            "messages": [rendering.structured(delivery) for delivery in shown],
            "cursor": _text_of(cursor),
        }
        if again is not None:
            answer["recovered"] = again.recovered
        return await self._with_unread(context, agent_id, text, answer)

    async def _with_unread(
        self, context: Context, agent_id: str, text: str, answer: dict[str, Any]
    ) -> Answer:
        """A model hears of its mail by itself, whatever it called."""
        unread = await self._hub.unread(caller(context), agent_id)
        answer["unread"] = unread.total
        line = rendering.unread(unread)
        return (f"{text}\n\n{line}" if line else text), answer


def identity(context: Context) -> Answer:
    """Where a model finds its id, with an example of that file; and who it is by its credential,
    where the hub asks for one.
    """
    who = caller(context)
    if who.is_anyone:
        return _file_of_identity(context, EXAMPLE_ID)
    return _proven_identity(context, who)


def _proven_identity(context: Context, who: Principal) -> Answer:
    agents, scopes = sorted(who.agents or ()), sorted(who.scopes)
    own = next((one for one in agents if not one.endswith(ANY_END)), EXAMPLE_ID)
    named = ", ".join(f"`{one}`" for one in agents) or "no agent"
    said = clean(who.subject)
    text, answer = _file_of_identity(context, own)
    may = f"You are signed in as {said}. You may act as {named}; your scopes: {', '.join(scopes)}."
    caller = {"subject": who.subject, "agents": agents, "scopes": scopes}
    return f"{may}\n\n{text}", {"caller": caller, **answer}


def _file_of_identity(context: Context, my_id: str) -> Answer:
    example = {
        "my_id": my_id,
        "recipients": {
            "vscode_client_1": {"name": "VS Code instance", "description": "the API team's editor"}
        },
        "server_info": {"url": own_url(context), "transport": "http_streamable"},
    }
    text = (
        f"Read `{IDENTITY_FILE}` in the root of your project: `my_id` is your id "
        "(client_id and sender_id in the other tools), the keys of `recipients` are whom you "
        "can write to. If there is no such file, ask your user for your id, or make one up, "
        "and offer to write the file:\n\n"
        f"```json\n{msgspec.json.format(msgspec.json.encode(example)).decode()}\n```"
    )
    return text, {"file": IDENTITY_FILE, "example": example}


def refused(context: Context, refusal: HubError) -> Answer:
    """A refusal, as the same problem object that REST answers."""
    problem = problems.problem(refusal, request_id(context))
    return rendering.refusal(problem), msgspec.to_builtins(problem)


def _peer(agent: Agent, status: Status) -> dict[str, Any]:
    return {
        "agent_id": agent.agent_id,
        "name": agent.name,
        "status": status.value,
        "capabilities": list(agent.capabilities),
    }


def _newest(deliveries: Sequence[Delivery]) -> Cursor | None:
    newest = max(deliveries, key=lambda delivery: delivery.message.seq, default=None)
    return None if newest is None else newest.cursor


def _text_of(cursor: Cursor | None) -> str | None:
    return None if cursor is None else str(cursor)

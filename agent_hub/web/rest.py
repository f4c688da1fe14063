"""The REST door: decode, one call of the hub, encode."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from multidict import istr

from agent_hub.core.agent import Agent, Status
from agent_hub.core.bounds import MAX_LOOKED_AT, MAX_SHOWN_INBOXES
from agent_hub.core.hub import Hub
from agent_hub.core.message import Draft, is_traceparent
from agent_hub.core.overview import Sort
from agent_hub.core.principal import Principal
from agent_hub.core.sending import Broadcast, Sent
from agent_hub.web.attendance import Attendance
from agent_hub.web.bodies import Bodies, query
from agent_hub.web.gate import Gate
from agent_hub.web.keys import CALL
from agent_hub.web.reply import Reply
from agent_hub.wire import agents, inboxes, messages

encode = msgspec.json.Encoder().encode

IDEMPOTENCY_KEY = istr("Idempotency-Key")
TRACEPARENT = istr("traceparent")


class AgentsQuery(Struct, forbid_unknown_fields=True):
    """Which agents to list."""

    status: Annotated[agents.AgentStatus | None, Meta(description="only those")] = None
    capability: Annotated[str | None, Meta(description="only those that have it")] = None


class LookQuery(Struct, forbid_unknown_fields=True):
    """How to look at an inbox."""

    agent_id: Annotated[agents.AgentId, Meta(description="whose inbox")]
    limit: Annotated[
        int,
        Meta(
            description="messages to show",
            extra_json_schema={"minimum": 1, "maximum": MAX_LOOKED_AT},
        ),
    ] = 50
    since: Annotated[
        messages.CursorText | None,
        Meta(description="a cursor: also show the kept messages newer than it"),
    ] = None
    wait: inboxes.ReadSeconds = 0.0


class InboxesQuery(Struct, forbid_unknown_fields=True):
    """Which inboxes to show first, and how many."""

    sort: Annotated[
        str,
        Meta(
            description="first those of the oldest unread message, or of the most messages",
            extra_json_schema={"enum": [*Sort]},
        ),
    ] = Sort.OLDEST.value
    limit: Annotated[
        int,
        Meta(
            description="inboxes to show",
            extra_json_schema={"minimum": 1, "maximum": MAX_SHOWN_INBOXES},
        ),
    ] = 20


class StandingQuery(Struct, forbid_unknown_fields=True):
    """Who asks."""

    agent_id: Annotated[agents.AgentId, Meta(description="the sender or a recipient")]


class Rest:
    """The handlers of `/api/v1`."""

    def __init__(self, hub: Hub, gate: Gate, bodies: Bodies, attendance: Attendance) -> None:
        self._hub = hub
        self._gate = gate
        self._bodies = bodies
        self._attendance = attendance

    def _caller(self, request: web.Request) -> Principal:
        return self._gate.caller(request, "rest")

    # --- agents ---------------------------------------------------------------------------

    async def register(self, request: web.Request) -> Reply:
        """201 for a new agent, 200 for a known one, which is then replaced."""
        body = await self._bodies.json(request, agents.decode_register)
        request[CALL].quota_of = body.agent_id
        registered = await self._hub.register(self._caller(request), body.to_agent())
        status = 201 if registered.is_new else 200
        return Reply(status, encode(agents.register_answer(registered)))

    async def list_agents(self, request: web.Request) -> Reply:
        caller = self._caller(request)
        request[CALL].quota_of = caller.peer
        asked = query(request, AgentsQuery)
        found = await self._hub.agents(caller, status=asked.status, capability=asked.capability)
        return Reply(200, encode(agents.agents_answer(found)))

    async def show_agent(self, request: web.Request) -> Reply:
        caller = self._caller(request)
        request[CALL].quota_of = caller.peer
        return _agent(await self._hub.agent(caller, request.match_info["agent_id"]))

    async def deregister(self, request: web.Request) -> Reply:
        """Its socket is closed."""
        await self._hub.deregister(self._caller(request), request.match_info["agent_id"])
        return Reply(204)

    async def heartbeat(self, request: web.Request) -> Reply:
        body = await self._bodies.json(request, agents.decode_heartbeat)
        agent_id = request.match_info["agent_id"]
        return _agent(await self._hub.heartbeat(self._caller(request), agent_id, body.status))

    # --- messages -------------------------------------------------------------------------

    async def send(self, request: web.Request) -> Reply:
        """Accepted means owed. To ALL each registered agent but the sender gets a copy.

        With `wait` the answer comes with the reply, with the other's question when both ask each
        other (crossed), or after the time (pending); a reply that comes later is ordinary mail.
        """
        body = await self._bodies.json(request, messages.decode_send)
        request[CALL].quota_of = body.sender
        draft = messages.draft_of(
            body,
            idempotency_key=request.headers.get(IDEMPOTENCY_KEY),
            traceparent=_traceparent(request),
        )
        if body.wait is not None:
            return await self._ask(request, draft, body.wait)
        sent = await self._hub.send(self._caller(request), draft)
        return _accepted(sent, draft.to, self._hub.durability)

    async def _ask(self, request: web.Request, draft: Draft, seconds: float) -> Reply:
        caller = self._caller(request)
        sent, question = await self._hub.ask(caller, draft, seconds)
        async with question:
            wait = await self._attendance.while_connected(request, question.answered())
            cursor = await self._hub.position(caller, draft.sender, wait.delivery)
            answer = messages.sent_answer(sent, draft.to, self._hub.durability)
            reply = Reply(202, encode(messages.answered(answer, wait, cursor)))
            _mark_replayed(reply, replayed=sent.receipt.replayed)
            self._gate.finish(request, reply)
            question.taken = await self._attendance.write(request, reply)
        return reply

    async def look(self, request: web.Request) -> Reply:
        """Oldest first, ready and leased; with `since` also the kept ones newer than it."""
        asked = query(request, LookQuery)
        request[CALL].quota_of = asked.agent_id
        looking = self._hub.look(
            self._caller(request),
            asked.agent_id,
            since=asked.since,
            limit=asked.limit,
            wait=asked.wait,
        )
        if asked.wait:
            page = await self._attendance.while_connected(request, looking)
        else:
            page = await looking
        return Reply(200, encode(inboxes.page_answer(page)))

    async def receive(self, request: web.Request) -> Reply:
        """With `ack` auto the messages are acked once the answer was written, and are ready again
        at once when that failed. With manual they are leased for `lease` seconds; what is neither
        acked nor extended then is handed out again, and after too many times dead.
        """
        body = await self._bodies.json(request, inboxes.decode_receive)
        request[CALL].quota_of = body.agent_id
        taking = await self._hub.receive(
            self._caller(request),
            body.agent_id,
            limit=body.limit,
            wait=body.wait,
            lease=body.lease_seconds,
        )
        async with taking:
            leased = await self._attendance.while_connected(request, taking.leased())
            reply = Reply(200, encode(inboxes.receive_answer(leased)))
            self._gate.finish(request, reply)
            taking.taken = await self._attendance.write(request, reply)
        return reply

    async def settle(self, request: web.Request) -> Reply:
        """Unknown ids are passed over, and a late ack counts."""
        body = await self._bodies.json(request, inboxes.decode_ack)
        counts = await self._hub.settle(
            self._caller(request),
            body.agent_id,
            ack=body.ids,
            release=body.release,
            extend=body.extend,
            lease_id=body.lease_id,
            lease=body.lease,
        )
        return Reply(200, encode(inboxes.ack_answer(counts)))

    async def standing(self, request: web.Request) -> Reply:
        """By recipient: ready, leased, acked, expired, dead or dropped, and since when."""
        asked = query(request, StandingQuery)
        request[CALL].quota_of = asked.agent_id
        message_id = request.match_info["message_id"]
        found = await self._hub.standings(self._caller(request), asked.agent_id, message_id)
        return Reply(200, encode(messages.standings_answer(message_id, found)))

    # --- inboxes --------------------------------------------------------------------------

    async def list_inboxes(self, request: web.Request) -> Reply:
        """For who runs the hub (scope `admin`): ids and counts, never what a message says."""
        caller = self._caller(request)
        request[CALL].quota_of = caller.peer
        asked = query(request, InboxesQuery)
        found = await self._hub.inboxes(caller, sort=asked.sort, limit=asked.limit)
        return Reply(200, encode(inboxes.inboxes_answer(found)))


def _agent(found: tuple[Agent, Status]) -> Reply:
    return Reply(200, encode(agents.view(*found)))


def _accepted(sent: Sent | Broadcast, to: str, durability: str) -> Reply:
    reply = Reply(202, encode(messages.answer_of(sent, to, durability)))
    _mark_replayed(reply, replayed=sent.replayed)
    return reply


def _mark_replayed(reply: Reply, *, replayed: bool) -> None:
    if replayed:
        reply.add("Idempotency-Replayed", "true")


def _traceparent(request: web.Request) -> str | None:
    """A trace context that is not valid is ignored, as W3C Trace Context asks."""
    given = request.headers.get(TRACEPARENT)
    return given if given is not None and is_traceparent(given) else None

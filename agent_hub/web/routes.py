"""Every route of the REST and WebSocket doors, once: for the router and for the documentation."""

from __future__ import annotations

from functools import cache, partial

from aiohttp import web

from agent_hub.core.errors import (
    AgentTaken,
    BackendUnavailable,
    ContentTooLarge,
    Draining,
    IdempotencyMismatch,
    InboxFull,
    NotFound,
    RateLimited,
    SenderShare,
    TooManyInboxes,
    TooManyWaits,
    WaitForSelf,
)
from agent_hub.web.gate import Access, Gate
from agent_hub.web.openapi import Document, describe
from agent_hub.web.ops import HealthAnswer, Operations, ReadyAnswer, ReadyQuery
from agent_hub.web.reference import Reference
from agent_hub.web.rest import AgentsQuery, InboxesQuery, LookQuery, Rest, StandingQuery
from agent_hub.web.route import Route
from agent_hub.web.websocket import WebSockets
from agent_hub.wire import agents, inboxes, messages

API = "/api/v1"
NO_MESSAGE = ("ack", "receive")
"""Words after `/messages/` that are calls of their own: no message has such an id."""


def api_routes(rest: Rest) -> list[Route]:
    """The calls of `/api/v1`."""
    agent = f"{API}/agents/{{agent_id}}"
    return [
        Route(
            method="POST",
            path=f"{API}/agents/register",
            handler=rest.register,
            tag="agents",
            summary="Register an agent, or replace its registration",
            body=agents.RegisterBody,
            answers={201: agents.RegisterAnswer, 200: agents.RegisterAnswer},
            refusals=(AgentTaken, RateLimited, TooManyInboxes, Draining, BackendUnavailable),
        ),
        Route(
            method="GET",
            path=f"{API}/agents",
            handler=rest.list_agents,
            tag="agents",
            summary="List the registered agents",
            query=AgentsQuery,
            answers={200: agents.AgentsAnswer},
            refusals=(RateLimited, BackendUnavailable),
        ),
        Route(
            method="GET",
            path=agent,
            handler=rest.show_agent,
            tag="agents",
            summary="Show one agent",
            answers={200: agents.AgentView},
            refusals=(NotFound, RateLimited, BackendUnavailable),
        ),
        Route(
            method="DELETE",
            path=agent,
            handler=rest.deregister,
            tag="agents",
            summary="End a registration; the agent's mail stays",
            answers={204: None},
            refusals=(NotFound, BackendUnavailable),
        ),
        Route(
            method="POST",
            path=f"{agent}/heartbeat",
            handler=rest.heartbeat,
            tag="agents",
            summary="Give a sign of life, and a new status if there is one",
            body=agents.HeartbeatBody,
            answers={200: agents.AgentView},
            refusals=(NotFound, BackendUnavailable),
        ),
        Route(
            method="POST",
            path=f"{API}/messages",
            handler=rest.send,
            tag="messages",
            summary="Send a message to one agent or to ALL, and wait for its reply if asked to",
            body=messages.DraftBody,
            idempotent=True,
            answers={202: messages.SentAnswer | messages.BroadcastAnswer},
            refusals=(
                ContentTooLarge,
                IdempotencyMismatch,
                WaitForSelf,
                RateLimited,
                InboxFull,
                SenderShare,
                TooManyWaits,
                TooManyInboxes,
                Draining,
                BackendUnavailable,
            ),
        ),
        Route(
            method="GET",
            path=f"{API}/messages",
            handler=rest.look,
            tag="messages",
            summary="Look at an inbox; nothing changes",
            query=LookQuery,
            answers={200: inboxes.PageAnswer},
            refusals=(RateLimited, BackendUnavailable),
        ),
        Route(
            method="POST",
            path=f"{API}/messages/receive",
            handler=rest.receive,
            tag="messages",
            summary="Take messages from an inbox",
            body=inboxes.ReceiveBody,
            answers={200: inboxes.ReceiveAnswer},
            refusals=(RateLimited, BackendUnavailable),
        ),
        Route(
            method="POST",
            path=f"{API}/messages/ack",
            handler=rest.settle,
            tag="messages",
            summary="Acknowledge, give back or keep longer what was taken",
            body=inboxes.SettleBody,
            answers={200: inboxes.AckAnswer},
            refusals=(BackendUnavailable,),
        ),
        Route(
            method="GET",
            path=f"{API}/messages/{{message_id}}",
            handler=rest.standing,
            tag="messages",
            summary="Where a message stands, to its sender or a recipient",
            query=StandingQuery,
            answers={200: messages.StandingsAnswer},
            refusals=(NotFound, RateLimited, BackendUnavailable),
        ),
        Route(
            method="GET",
            path=f"{API}/inboxes",
            handler=rest.list_inboxes,
            tag="messages",
            summary="List the inboxes that hold mail",
            query=InboxesQuery,
            answers={200: inboxes.InboxesAnswer},
            refusals=(RateLimited, BackendUnavailable),
        ),
    ]


def operation_routes(operations: Operations, *, open_metrics: bool = False) -> list[Route]:
    """The calls for those who run the hub; `open_metrics`: whoever comes may count."""
    health = {200: HealthAnswer}
    return [
        Route(
            method="GET",
            path="/health",
            handler=operations.health,
            tag="operations",
            summary="What this hub is and how it is",
            access=Access.OPTIONAL,
            answers=health,
        ),
        Route(
            method="GET",
            path="/api/mcp/health",
            handler=operations.health,
            tag="operations",
            summary="The same as /health",
            access=Access.OPTIONAL,
            answers=health,
        ),
        Route(
            method="GET",
            path="/livez",
            handler=operations.livez,
            tag="operations",
            summary="The process answers",
            access=Access.OPEN,
            answers={200: ReadyAnswer},
        ),
        Route(
            method="GET",
            path="/readyz",
            handler=operations.readyz,
            tag="operations",
            summary="Whether a send would be accepted now",
            access=Access.OPEN,
            query=ReadyQuery,
            answers={200: ReadyAnswer, 503: ReadyAnswer},
        ),
        Route(
            method="GET",
            path="/metrics",
            handler=operations.metrics,
            tag="operations",
            summary="Prometheus text, or OpenMetrics when asked for",
            access=Access.OPEN if open_metrics else Access.CREDENTIAL,
            answers={200: str},
            media_types=("text/plain", "application/openmetrics-text"),
        ),
    ]


def add_routes(
    app: web.Application,
    gate: Gate,
    documented: list[Route],
    operations: Operations,
    websockets: WebSockets,
) -> None:
    """Put everything on the router."""
    document = cache(partial(describe, documented, operations.version, asks=gate.asks))
    for route in documented:
        gate.add(app.router, route.method, _place(route.path), route.handler, access=route.access)
    pages = {
        f"{API}/openapi.json": Document(document).show,
        "/docs": Reference(document).show,
        "/": operations.page,
    }
    for path, show in pages.items():
        gate.add(app.router, "GET", path, show, access=Access.OPEN)
    # A browser cannot set the header: without one, the socket's first frame has to tell.
    socket = "/ws/{agent_id}"
    gate.add(app.router, "GET", socket, websockets.open, access=Access.OPTIONAL, via="websocket")


def _place(path: str) -> str:
    """The path for the router, where a word of `NO_MESSAGE` is not taken for a message's id."""
    words = "|".join(NO_MESSAGE)
    return path.replace("{message_id}", rf"{{message_id:(?!(?:{words})$)[^/]+}}")

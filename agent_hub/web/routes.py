"""Every route of the REST and WebSocket doors, once: for the router and for the documentation."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec import Struct

from agent_hub.web.ops import HealthAnswer, Operations, ReadyAnswer, ReadyQuery
from agent_hub.web.rest import AgentsQuery, LookQuery, Rest, StandingQuery
from agent_hub.web.websocket import WebSockets
from agent_hub.wire import agents, inboxes, messages

API = "/api/v1"


class Route(Struct, kw_only=True):
    """One call. `answers` are the successful ones: status and type, None for an empty body."""

    method: str
    path: str
    handler: Handler
    summary: str
    query: type[Any] | None = None
    body: type[Any] | None = None
    answers: dict[int, Any]


def api_routes(rest: Rest) -> list[Route]:
    """The calls of `/api/v1`."""
    agent = f"{API}/agents/{{agent_id}}"
    return [
        Route(
            method="POST",
            path=f"{API}/agents/register",
            handler=rest.register,
            summary="Register an agent, or replace its registration",
            body=agents.RegisterBody,
            answers={201: agents.RegisterAnswer, 200: agents.RegisterAnswer},
        ),
        Route(
            method="GET",
            path=f"{API}/agents",
            handler=rest.list_agents,
            summary="List the registered agents",
            query=AgentsQuery,
            answers={200: agents.AgentsAnswer},
        ),
        Route(
            method="GET",
            path=agent,
            handler=rest.show_agent,
            summary="Show one agent",
            answers={200: agents.AgentView},
        ),
        Route(
            method="DELETE",
            path=agent,
            handler=rest.deregister,
            summary="End a registration; the agent's mail stays",
            answers={204: None},
        ),
        Route(
            method="POST",
            path=f"{agent}/heartbeat",
            handler=rest.heartbeat,
            summary="Give a sign of life, and a new status if there is one",
            body=agents.HeartbeatBody,
            answers={200: agents.AgentView},
        ),
        Route(
            method="POST",
            path=f"{API}/messages",
            handler=rest.send,
            summary="Send a message to one agent or to ALL, and wait for its reply if asked to",
            body=messages.SendBody,
            answers={202: messages.SentAnswer | messages.BroadcastAnswer},
        ),
        Route(
            method="GET",
            path=f"{API}/messages",
            handler=rest.look,
            summary="Look at an inbox; nothing changes",
            query=LookQuery,
            answers={200: inboxes.PageAnswer},
        ),
        Route(
            method="POST",
            path=f"{API}/messages/receive",
            handler=rest.receive,
            summary="Take messages from an inbox",
            body=inboxes.ReceiveBody,
            answers={200: inboxes.ReceiveAnswer},
        ),
        Route(
            method="POST",
            path=f"{API}/messages/ack",
            handler=rest.settle,
            summary="Acknowledge, give back or keep longer what was taken",
            body=inboxes.AckBody,
            answers={200: inboxes.AckAnswer},
        ),
        Route(
            method="GET",
            path=f"{API}/messages/{{message_id}}",
            handler=rest.standing,
            summary="Where a message stands, to its sender or a recipient",
            query=StandingQuery,
            answers={200: messages.StandingsAnswer},
        ),
    ]


def operation_routes(operations: Operations) -> list[Route]:
    """The calls for those who run the hub."""
    health = {200: HealthAnswer}
    return [
        Route(
            method="GET",
            path="/health",
            handler=operations.health,
            summary="What this hub is and how it is",
            answers=health,
        ),
        Route(
            method="GET",
            path="/api/mcp/health",
            handler=operations.health,
            summary="The same as /health",
            answers=health,
        ),
        Route(
            method="GET",
            path="/livez",
            handler=operations.livez,
            summary="The process answers",
            answers={200: ReadyAnswer},
        ),
        Route(
            method="GET",
            path="/readyz",
            handler=operations.readyz,
            summary="Whether a send would be accepted now",
            query=ReadyQuery,
            answers={200: ReadyAnswer},
        ),
    ]


def add_routes(
    app: web.Application,
    documented: list[Route],
    operations: Operations,
    websockets: WebSockets,
) -> None:
    """Put everything on the router."""
    for route in documented:
        app.router.add_route(route.method, route.path, route.handler)
    app.router.add_get("/metrics", operations.metrics)
    app.router.add_get("/", operations.page)
    app.router.add_get("/ws/{agent_id}", websockets.open)

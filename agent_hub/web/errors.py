"""Every refusal of the HTTP doors as problem+json."""

from __future__ import annotations

from aiohttp import web

from agent_hub.core.errors import (
    BodyTooLarge,
    HubError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
)
from agent_hub.web.limits import retry_header
from agent_hub.web.reply import PROBLEM_JSON, Reply
from agent_hub.wire import problems


def problem_reply(error: HubError, request_id: str, *, status: int | None = None) -> Reply:
    """The response for a refusal; `Retry-After` is in whole seconds, rounded up.

    `status` is given for what is not even HTTP: the code has another one in a request.
    """
    problem = problems.problem(error, request_id)
    if status is not None:
        problem.status = status
    reply = Reply(problem.status, problems.encode(problem), PROBLEM_JSON)
    for name, value in retry_header(error).items():
        reply.add(name, value)
    if isinstance(error, MethodNotAllowed):
        reply.add("Allow", ", ".join(error.allowed))
    if isinstance(error, Unauthenticated):
        reply.add("WWW-Authenticate", "Bearer")
    return reply


def from_aiohttp(error: web.HTTPException, request: web.Request) -> HubError:
    """What aiohttp itself refuses: its router's 404 and 405, an oversized body."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = tuple(sorted(error.allowed_methods))
        return MethodNotAllowed(f"{request.path} takes {', '.join(allowed)}", allowed=allowed)
    if isinstance(error, web.HTTPNotFound):
        return NotFound(f"nothing is at {request.path}")
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return BodyTooLarge("the body is too large")
    return Invalid(error.reason)

"""Every refusal of the HTTP doors as problem+json."""

from __future__ import annotations

import re

from aiohttp import web

from agent_hub.core.errors import (
    BodyTooLarge,
    HubError,
    InsufficientScope,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
)
from agent_hub.web.limits import retry_header
from agent_hub.web.reply import PROBLEM_JSON, Reply
from agent_hub.wire import problems

REALM = "agent-hub"

_UNSAYABLE = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


def problem_reply(
    error: HubError,
    request_id: str,
    *,
    status: int | None = None,
    metadata_url: str | None = None,
) -> Reply:
    """The response for a refusal; `Retry-After` is in whole seconds, rounded up.

    `status` is given for what is not even HTTP: the code has another one in a request.
    `metadata_url` is where a client reads how to get a credential.
    """
    problem = problems.problem(error, request_id)
    if status is not None:
        problem.status = status
    reply = Reply(problem.status, problems.encode(problem), PROBLEM_JSON)
    for name, value in retry_header(error).items():
        reply.add(name, value)
    if isinstance(error, MethodNotAllowed):
        reply.add("Allow", ", ".join(error.allowed))
    asked = challenge(error)
    if asked is not None:
        more = "" if metadata_url is None else f', resource_metadata="{metadata_url}"'
        reply.add("WWW-Authenticate", asked + more)
    return reply


def challenge(error: HubError) -> str | None:
    """What a client must show to be let in (RFC 6750, 3); None for another refusal.

    Who showed nothing is told of no error.
    """
    if isinstance(error, Unauthenticated):
        if error.is_missing:
            return f'Bearer realm="{REALM}"'
        return f'Bearer realm="{REALM}", error="invalid_token", error_description="{_said(error)}"'
    if isinstance(error, InsufficientScope):
        return (
            f'Bearer realm="{REALM}", error="insufficient_scope", scope="{error.scopes[0]}",'
            f' error_description="{_said(error)}"'
        )
    return None


def _said(error: HubError) -> str:
    """Of the characters that the header takes: ASCII without quotes and backslashes."""
    return _UNSAYABLE.sub("'", error.detail)


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

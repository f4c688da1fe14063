"""A refusal as everybody sees it: RFC 9457 problem details, the same object at every door."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from agent_hub.core.errors import HubError

STATUS = {
    "malformed_json": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "insufficient_scope": 403,
    "wrong_origin": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "slow_body": 408,
    "agent_taken": 409,
    "body_too_large": 413,
    "content_too_large": 413,
    "unsupported_media_type": 415,
    "wrong_host": 421,
    "invalid": 422,
    "idempotency_mismatch": 422,
    "wait_for_self": 422,
    "rate_limited": 429,
    "inbox_full": 429,
    "sender_share": 429,
    "too_many_waits": 429,
    "too_many_inboxes": 429,
    "internal": 500,
    "backend_unavailable": 503,
    "draining": 503,
}
"""The HTTP status of each code."""


Code = Annotated[str, Meta(extra_json_schema={"enum": [*STATUS]})]


class ProblemFault(Struct):
    """`pointer` is a JSON Pointer into the body, or `?name` for a query parameter."""

    pointer: str
    detail: str


class Problem(Struct):
    """`code` is from a closed list; `retryable` says whether the same call may succeed later."""

    type: str
    title: str
    status: int
    detail: str
    code: Code
    retryable: bool
    request_id: str
    errors: list[ProblemFault] | UnsetType = UNSET
    retry_after: Annotated[float, Meta(description="seconds")] | UnsetType = UNSET


def problem(error: HubError, request_id: str) -> Problem:
    """The problem object of a refusal. `retry_after` is in seconds."""
    faults = [ProblemFault(fault.pointer, fault.detail) for fault in error.faults]
    return Problem(
        type=f"urn:agent-hub:problem:{error.code}",
        title=error.title,
        status=STATUS[error.code],
        detail=error.detail,
        code=error.code,
        retryable=error.retryable,
        request_id=request_id,
        errors=faults or UNSET,
        retry_after=UNSET if error.retry_after is None else round(error.retry_after, 3),
    )


encode = msgspec.json.Encoder().encode

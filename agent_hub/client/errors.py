"""What can go wrong between an agent and its hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

BAD_CREDENTIAL = 4500

# What the hub means by a close code after which a client must not come back by itself.
FINAL_CLOSE_CODES = {
    BAD_CREDENTIAL: ("bad_credential", "the hub does not accept this credential"),
    4501: ("bad_frame", "the hub could not read a frame of this client"),
    4502: ("no_credential", "the hub waited in vain for a credential"),
    4503: ("replaced", "another connection of this agent took over, or it was deregistered"),
    4504: ("too_many", "too many connections"),
    4509: ("too_many_errors", "this client sent too many faulty frames"),
}

# Answers that a proxy gives in the hub's place while the hub cannot, beside the hub's own.
_PASSING_STATUSES = frozenset({429, 502, 503, 504})


class HubError(Exception):
    """A call that the hub refused.

    `code` is one of the hub's documented problem codes (`inbox_full`, `invalid`, ...), `status`
    the HTTP status, `retry_after` in seconds. `faults` names each faulty field of an `invalid`
    one: `{"pointer": ..., "detail": ...}`. `in_doubt`: the hub may have done it all the same, as
    when its answer was lost; any other refusal changed nothing.
    """

    def __init__(
        self,
        code: str,
        *,
        status: int | None = None,
        detail: str = "",
        retryable: bool = False,
        request_id: str | None = None,
        retry_after: float | None = None,
        faults: tuple[Mapping[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.status = status
        self.detail = detail
        self.retryable = retryable
        self.request_id = request_id
        self.retry_after = retry_after
        self.faults = faults
        self.in_doubt = status is not None and status >= 500 and code != "draining"


class HubUnreachable(HubError):
    """No answer came: no hub there, or the connection was lost. `code` is `unreachable`."""

    def __init__(self, detail: str, *, retryable: bool = True, in_doubt: bool = False) -> None:
        super().__init__("unreachable", detail=detail, retryable=retryable)
        self.in_doubt = in_doubt


class Disconnected(HubError):
    """The hub ended the stream of deliveries for good; reconnecting is not this client's to decide.

    `close_code` is the WebSocket's; `code` says the same in a word: `replaced` (4503),
    `bad_credential` (4500), `bad_frame`, `no_credential`, `too_many`, `too_many_errors`.
    """

    def __init__(self, close_code: int, reason: str) -> None:
        code, meaning = FINAL_CLOSE_CODES[close_code]
        super().__init__(code, detail=reason or meaning)
        self.close_code = close_code


class _Problem(msgspec.Struct):
    code: str
    detail: str = ""
    retryable: bool | None = None
    request_id: str | None = None
    retry_after: float | None = None
    errors: tuple[dict[str, Any], ...] = ()


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> HubError:
    """The error that an answer of 400 or above stands for, whoever wrote it."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        # A proxy's page, or something that is no hub at all: the status is all there is.
        problem = _Problem("unexpected_answer", f"HTTP {status} without a problem document")
    passing = status in _PASSING_STATUSES if problem.retryable is None else problem.retryable
    return HubError(
        problem.code,
        status=status,
        detail=problem.detail,
        retryable=passing,
        request_id=problem.request_id or headers.get("X-Request-Id"),
        # The same pause, but the header can say whole seconds only.
        retry_after=problem.retry_after or _seconds(headers.get("Retry-After", "")),
        faults=problem.errors,
    )


def _seconds(retry_after: str) -> float | None:
    # The other legal form is a date, by a clock that is not ours: the usual pause serves instead.
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None

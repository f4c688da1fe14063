"""The one tree of refusals. Each class is one `code` of the public, closed list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class Fault(NamedTuple):
    """One faulty place in what a caller sent.

    `pointer` is a JSON Pointer (RFC 6901) into the body, or `?name` for a query parameter.
    """

    pointer: str
    detail: str


class HubError(Exception):
    """A call that the hub refused; nothing was changed by it.

    `retry_after` is in seconds: how long to wait before the same call may succeed.
    """

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The hub failed"
    retryable: ClassVar[bool] = False

    def __init__(
        self, detail: str, *, retry_after: float | None = None, faults: tuple[Fault, ...] = ()
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.faults = faults


class MalformedJson(HubError):
    code = "malformed_json"
    title = "The body is not JSON"


class Invalid(HubError):
    """Well-formed, but not what this call takes; `faults` names each field."""

    code = "invalid"
    title = "The request is not valid"

    @classmethod
    def at(cls, pointer: str, detail: str) -> Invalid:
        """The usual case: one field, one reason."""
        return cls.of([Fault(pointer, detail)])

    @classmethod
    def of(cls, faults: Sequence[Fault]) -> Invalid:
        """Every faulty field; the text tells of the first."""
        return cls(f"{faults[0].pointer}: {faults[0].detail}", faults=tuple(faults))


class BodyTooLarge(HubError):
    code = "body_too_large"
    title = "The body is too large"


class ContentTooLarge(HubError):
    code = "content_too_large"
    title = "The message is too large"


class UnsupportedMediaType(HubError):
    code = "unsupported_media_type"
    title = "The body must be JSON"


class SlowBody(HubError):
    code = "slow_body"
    title = "The body did not arrive in time"
    retryable = True


class Unauthenticated(HubError):
    """No credential, or one that proves nothing; `is_missing` says which."""

    code = "unauthenticated"
    title = "A credential is needed"

    def __init__(self, detail: str, *, is_missing: bool = False) -> None:
        super().__init__(detail)
        self.is_missing = is_missing


class Forbidden(HubError):
    code = "forbidden"
    title = "Not allowed"


class InsufficientScope(Forbidden):
    """`scopes` are those of which one would have been enough."""

    code = "insufficient_scope"
    title = "The credential lacks a scope"

    def __init__(self, detail: str, *, scopes: Sequence[str]) -> None:
        super().__init__(detail)
        self.scopes = tuple(scopes)


class WrongHost(HubError):
    code = "wrong_host"
    title = "This hub does not answer to that Host"


class WrongOrigin(Forbidden):
    code = "wrong_origin"
    title = "This hub does not answer that Origin"


class NotFound(HubError):
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(HubError):
    code = "method_not_allowed"
    title = "Method not allowed"

    def __init__(self, detail: str, *, allowed: tuple[str, ...]) -> None:
        super().__init__(detail)
        self.allowed = allowed


class AgentTaken(HubError):
    code = "agent_taken"
    title = "That agent belongs to somebody else"


class IdempotencyMismatch(HubError):
    code = "idempotency_mismatch"
    title = "That idempotency key was used for other content"


class WaitForSelf(HubError):
    code = "wait_for_self"
    title = "An agent cannot wait for itself"


class RateLimited(HubError):
    code = "rate_limited"
    title = "Too many requests"
    retryable = True


class InboxFull(HubError):
    code = "inbox_full"
    title = "The recipient's inbox is full"
    retryable = True


class SenderShare(HubError):
    code = "sender_share"
    title = "This sender has used its share of the recipient's inbox"
    retryable = True


class TooManyWaits(HubError):
    code = "too_many_waits"
    title = "Too many questions open at once"
    retryable = True


class TooManyInboxes(HubError):
    code = "too_many_inboxes"
    title = "Too many inboxes"
    retryable = True


class BackendUnavailable(HubError):
    code = "backend_unavailable"
    title = "The store cannot be reached"
    retryable = True


class Draining(HubError):
    code = "draining"
    title = "The hub is shutting down"
    retryable = True


class Internal(HubError):
    """A bug. Of what it is only the log tells, under the request id."""

    code = "internal"

    def __init__(self) -> None:
        super().__init__("the hub failed; its log knows more")

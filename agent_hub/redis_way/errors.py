"""What Redis and its client complain of, in the words of the hub."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from agent_hub.core.errors import BackendUnavailable
from agent_hub.redis_way import tls_failure

RETRY_SECONDS = 1.0
UNREADABLE = "a URL that cannot be read"
"""Instead of a place."""

STATES = {
    "OOM": "Redis has no memory left (maxmemory)",
    "READONLY": "this Redis is a replica now and takes no writes",
    "LOADING": "Redis still reads its data",
    "MASTERDOWN": "this Redis is a replica that lost its primary",
    "CLUSTERDOWN": "the Redis cluster is down",
    "TRYAGAIN": "the Redis cluster moves these keys",
    "MOVED": "the Redis cluster moves these keys",
    "ASK": "the Redis cluster moves these keys",
    "MISCONF": "Redis cannot write its data to the disk",
    "NOREPLICAS": "Redis has too few replicas to take a write",
    "BUSY": "Redis is busy with a script",
    "UNBLOCKED": "this Redis changes its role",
    "NOPERM": "the Redis user may not do what the hub needs; see docs/backends.md",
    "NOAUTH": "Redis asks for a password",
    "WRONGPASS": "Redis does not take this user and password",
}
"""What Redis can answer instead of doing a thing; nothing was done."""
PASSING = frozenset(
    {
        *("READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED"),
        *("CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"),
    }
)
"""Those that may be over at the next try, on a new connection."""
_IN_A_SCRIPT = {
    "The user executing the script": "NOPERM",
    "ACL failure in script": "NOPERM",
    "command not allowed when used memory": "OOM",
    "can't write against a read only replica": "READONLY",
}
"""How some say it within a script, where Redis before 7 drops the word."""
_STATE = re.compile(rf"\b({'|'.join(STATES)})\b")


def state_of(error: ResponseError) -> str | None:
    """The word in STATES that this answer means; an error within a script stands in its text."""
    if isinstance(error, NoPermissionError):
        return "NOPERM"
    if isinstance(error, AuthenticationError):
        return "WRONGPASS"
    code = getattr(error, "status_code", None)
    if code in STATES:
        return str(code)
    text = str(error)
    for saying, state in _IN_A_SCRIPT.items():
        if saying in text:
            return state
    found = _STATE.search(text)
    return found and found.group(1)


def is_passing(answer: object) -> bool:
    return isinstance(answer, ResponseError) and state_of(answer) in PASSING


def is_unknown_script(answer: object) -> bool:
    return isinstance(answer, NoScriptError)


def said_of(error: ResponseError) -> str:
    """What it means; of one that nobody expects, only its kind."""
    return STATES.get(state_of(error) or "", type(error).__name__)


def unavailable(detail: str) -> BackendUnavailable:
    return BackendUnavailable(detail, retry_after=RETRY_SECONDS)


def refusal(error: ResponseError) -> Exception:
    """What to raise for an error that Redis answered; one that nobody expects is a bug of ours."""
    state = state_of(error)
    return error if state is None else unavailable(STATES[state])


def broken(name: str, error: BaseException) -> BackendUnavailable:
    """The way to Redis failed. The client's own text is not repeated: it may hold anything."""
    if isinstance(error, AuthenticationError):
        return unavailable(f"{name}: {STATES['WRONGPASS']}")
    if isinstance(error, ResponseError) and (state := state_of(error)) is not None:
        return unavailable(f"{name}: {STATES[state]}")
    if (why := tls_failure(error)) is not None:
        return unavailable(f"{name}: {why}")
    reason = "it does not answer in time" if isinstance(error, TimeoutError) else "no connection"
    if isinstance(error, RedisError) and "LOADING" in f"{getattr(error, 'status_code', '')}":
        reason = STATES["LOADING"]
    return unavailable(f"{name}: {reason}")


def place_of(url: str) -> str:
    """Host and port, or the socket's path: what may be shown of a URL.

    Of one whose password ends its host too early, as an unescaped / does, nothing may.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        return UNREADABLE
    if parts.scheme == "unix":
        return parts.path
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return UNREADABLE
    host = parts.hostname or "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

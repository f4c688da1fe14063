"""Times as text: RFC 3339 in UTC, with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


@lru_cache(maxsize=4096)
def _to_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339(time: float) -> str:
    """Wall time in seconds as, for example, `2026-11-20T08:00:00.000Z`."""
    milliseconds = int(time * 1000)
    second, rest = divmod(milliseconds, 1000)
    return f"{_to_the_second(second)}.{rest:03d}Z"

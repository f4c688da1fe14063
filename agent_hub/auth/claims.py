"""What a claim of a JWT says, if it says that at all: whoever signs may sign anything."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from agent_hub.core.errors import Unauthenticated

MAX_TEXT_CHARACTERS = 512


def moment(claims: Mapping[str, Any], name: str) -> float:
    """Wall time. Raises Unauthenticated for what is none."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise Unauthenticated(f"the claim {name!r} is no time")
    return float(value)


def _is_finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def text(claims: Mapping[str, Any], name: str) -> str:
    """1 to MAX_TEXT_CHARACTERS of Unicode. Raises Unauthenticated for what is none."""
    value = claims[name]
    if not (
        isinstance(value, str) and 0 < len(value) <= MAX_TEXT_CHARACTERS and _is_unicode(value)
    ):
        raise Unauthenticated(f"the claim {name!r} is no text")
    return str(value)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can say half of a character
        return False
    return True

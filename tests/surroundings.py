"""What the environment says to a hub, and how to be without it."""

from __future__ import annotations

import os

from agent_hub.config import OLDER_NAMES, PREFIX, REDIS_URL


def surroundings(**variables: str) -> dict[str, str]:
    """The environment without what it says to a hub, and with these variables instead."""
    return {**{k: v for k, v in os.environ.items() if not _is_for_a_hub(k)}, **variables}


def _is_for_a_hub(name: str) -> bool:
    return name.upper().startswith(PREFIX) or name in (*OLDER_NAMES, REDIS_URL)

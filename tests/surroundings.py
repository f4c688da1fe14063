"""What a program meets where it is started, and how to be without it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from agent_hub.config import OLDER_NAMES, PREFIX, REDIS_URL


def surroundings(**variables: str) -> dict[str, str]:
    """The environment without what it says to a hub, and with these variables instead."""
    return {**{k: v for k, v in os.environ.items() if not _is_for_a_hub(k)}, **variables}


def _is_for_a_hub(name: str) -> bool:
    return name.upper().startswith(PREFIX) or name in (*OLDER_NAMES, REDIS_URL)


@contextmanager
def heeded_by_programs() -> Iterator[None]:
    """Programs started here have no ignored signals, whatever this process ignores.

    What is ignored is inherited; what has a handler is, in another program, as it is by default.
    """
    ignored = [one for one in (signal.SIGINT, signal.SIGHUP) if _is_ignored(one)]
    for one in ignored:
        signal.signal(one, lambda number, frame: None)
    try:
        yield
    finally:
        for one in ignored:
            signal.signal(one, signal.SIG_IGN)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN

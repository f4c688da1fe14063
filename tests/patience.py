"""How long a test waits for what must happen, before it says that it does not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 60.0
"""Real seconds. Nothing waits for it that goes well; a busy machine may take that long."""


@contextmanager
def not_for_ever() -> Iterator[None]:
    """End what keeps the processor for so long: a block that takes milliseconds, or else minutes.

    For what does not come back to the event loop by itself, whatever else the machine does.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("the processor was kept for too long")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)

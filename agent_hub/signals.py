"""What the operating system tells the hub: end, end now, read the settings again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable

log = logging.getLogger(__name__)

ENDINGS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Listens from `listen` on. `stopping` is set by the first signal to end.

    The second one ends the process in its tracks, with 128 and the signal's number: who sends two
    does not want to wait. `on_reload` are called by SIGHUP, in their order; what one raises is
    logged and keeps no other from its turn.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.on_reload: list[Callable[[], None]] = []

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows has no handlers in the loop
            for number in ENDINGS:
                loop.add_signal_handler(number, self._end, number)
            loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _end(self, number: signal.Signals) -> None:
        if self.stopping.is_set():
            log.critical("told to stop twice: ending at once")
            os._exit(128 + number)
        self.stopping.set()

    def _reload(self) -> None:
        log.info("reading the settings again")
        for call in self.on_reload:
            try:
                call()
            except Exception:
                log.exception("a part could not be read again")

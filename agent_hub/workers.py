"""Several hub processes on one port: started, watched, started again, drained together.

The supervisor takes no connection itself. Each worker opens a socket of its own on the address with
SO_REUSEPORT, and the system shares the connections out among those that listen. Workers are
spawned, not forked: a fork would copy locks and threads in the middle of whatever they do.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from math import inf
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from agent_hub.port import cannot_listen, reserved

log = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 30.0
HEALTHY_SECONDS = 60.0
"""A worker that lived so long has not failed in a row."""

DRAIN_SECONDS = 12.0
"""Longer than a hub takes to drain; who still runs then is killed."""

Start = Callable[[dict[str, Any], "Worker"], int]
"""What a worker does: the flags and its place among the others in, an exit code out."""


class Worker:
    """A worker's own view of its supervision. `folder` is for what the workers tell each other."""

    def __init__(self, number: int, folder: Path, ready: Connection) -> None:
        self.number = number
        self.folder = folder
        self._ready = ready

    def serves(self, orphaned: Callable[[], None]) -> None:
        """Say that connections are taken now: from here on an end is a reason to start again.

        `orphaned` is called when the supervisor is gone.
        """
        parent = multiprocessing.parent_process()
        assert parent is not None, "not a worker"
        loop, ends = asyncio.get_running_loop(), int(parent.sentinel)

        def gone() -> None:
            loop.remove_reader(ends)
            orphaned()

        loop.add_reader(ends, gone)
        with suppress(BrokenPipeError):  # it is gone already, which shows at once
            self._ready.send_bytes(b"ready")
        self._ready.close()


class Supervisor:
    """Runs `count` workers until it is told to stop.

    `start` is a function of a module: a spawned process imports it. Its flags get the port that
    was chosen.
    """

    def __init__(
        self, count: int, host: str, port: int, start: Start, flags: Mapping[str, Any]
    ) -> None:
        self._host = host
        self._port = port
        self._start = start
        self._flags = dict(flags)
        self._places = [_Place(number) for number in range(1, count + 1)]
        self._have_served = False
        self._stopping = False
        self._code = 0
        self._kill_at = inf

    def run(self) -> int:
        """The exit code: 0 after a drain, 1 when a worker could not start or had to be killed.

        Told twice to stop it is 128 and the signal's number.
        """
        with ExitStack() as held:
            try:
                shared = TemporaryDirectory(prefix="agent-hub-")
            except OSError as error:
                log.critical("cannot start: workers need a folder to share: %s", error.strerror)
                return 1
            self._folder = Path(held.enter_context(shared))
            try:
                self._flags["port"] = held.enter_context(reserved(self._host, self._port))
            except OSError as error:
                log.critical("%s", cannot_listen(self._host, self._port, error))
                return 1
            signals = held.enter_context(_signals())
            while self._do_what_is_due():
                self._wait(signals)
        return self._code

    def _do_what_is_due(self) -> bool:
        """False when nothing ever will be: told to stop, and nobody runs."""
        now = monotonic()
        if now >= self._kill_at:
            log.error("some workers did not end in %g s: killed", DRAIN_SECONDS)
            self._kill()
        if self._stopping:
            return any(place.process is not None for place in self._places)
        for place in self._places:
            if place.process is None and now >= place.begin_at:
                self._begin(place)
        return True

    def _wait(self, signals: int) -> None:
        """Until something happens, which is then seen to, or until something is due."""
        watched = [signals, *chain.from_iterable(place.watched() for place in self._places)]
        happened = wait(watched, self._until_due())
        for number in os.read(signals, 64) if signals in happened else b"":
            self._signalled(number)
        for place in self._places:
            if place.ready in happened:
                self._heard(place)
            if place.process is not None and place.process.sentinel in happened:
                self._ended(place)

    def _until_due(self) -> float | None:
        """In seconds; None when only a worker or a signal can change anything."""
        times = [self._kill_at]
        if not self._stopping:
            times += [place.begin_at for place in self._places if place.process is None]
        return None if min(times) == inf else max(0.0, min(times) - monotonic())

    # --- a worker's life --------------------------------------------------------------------

    def _begin(self, place: _Place) -> None:
        context = multiprocessing.get_context("spawn")
        place.ready, theirs = context.Pipe(duplex=False)
        worker = Worker(place.number, self._folder, theirs)
        place.process = context.Process(
            target=_work, args=(self._start, self._flags, worker), name=f"worker-{place.number}"
        )
        place.process.start()
        theirs.close()
        place.began_at = monotonic()
        log.info("worker %d starts as process %d", place.number, place.process.pid)

    def _heard(self, place: _Place) -> None:
        """The worker is ready, or has ended without."""
        assert place.ready is not None
        try:
            place.ready.recv_bytes()
            place.is_ready = True
        except EOFError:
            pass
        place.ready.close()
        place.ready = None
        if place.is_ready:
            self._have_served = True
        if all(each.is_ready for each in self._places):
            log.info("all %d workers are ready", len(self._places))

    def _ended(self, place: _Place) -> None:
        pid, code = place.end()
        if self._stopping:
            if code not in (0, -signal.SIGTERM):  # SIGTERM: before it could handle one
                self._code = self._code or 1
        elif not self._have_served:
            log.critical("cannot start: worker %d ended with %s", place.number, _told(code))
            self._code = 1
            self._stop()
        else:
            delay = place.next_delay()
            place.begin_at = monotonic() + delay
            log.error(
                "worker %d, process %d, ended with %s; starts again in %g s",
                *(place.number, pid, _told(code), delay),
            )

    # --- the end ------------------------------------------------------------------------------

    def _signalled(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._pass_on(signal.SIGHUP)
        elif self._stopping:
            log.warning("told to stop twice: the workers are killed")
            self._kill()
            self._code = 128 + number
        else:
            self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self._kill_at = monotonic() + DRAIN_SECONDS
        self._pass_on(signal.SIGTERM)

    def _kill(self) -> None:
        self._code = 1
        self._kill_at = inf
        self._pass_on(signal.SIGKILL)

    def _pass_on(self, number: signal.Signals) -> None:
        for place in self._places:
            # Not waited for yet, so that the id can be nobody else's.
            if place.process is not None and place.process.pid is not None:
                os.kill(place.process.pid, number)


class _Place:
    """One of the workers, in all its lives."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: BaseProcess | None = None
        self.ready: Connection | None = None
        self.is_ready = False
        self.began_at = 0.0
        self.begin_at = 0.0
        self._failures = 0

    def watched(self) -> list[Any]:
        """What tells that something happened to it."""
        sentinels = [] if self.process is None else [self.process.sentinel]
        return [*sentinels, *([] if self.ready is None else [self.ready])]

    def end(self) -> tuple[int, int]:
        """The id and the exit code of the process that has ended; a signal's number is negative."""
        assert self.process is not None
        self.process.join()
        pid, code = self.process.pid, self.process.exitcode
        assert pid is not None
        assert code is not None
        self.process.close()
        self.process = None
        self.is_ready = False
        if self.ready is not None:
            self.ready.close()
            self.ready = None
        return pid, code

    def next_delay(self) -> float:
        """Seconds until it starts again: longer with each failure in a row."""
        if monotonic() - self.began_at >= HEALTHY_SECONDS:
            self._failures = 0
        delay: float = FIRST_DELAY_SECONDS * 2**self._failures
        self._failures += 1
        return min(LONGEST_DELAY_SECONDS, delay)


def _work(start: Start, flags: dict[str, Any], worker: Worker) -> None:
    """A worker's whole life, in its own process."""
    # A group of its own: Ctrl-C reaches the supervisor alone, which then drains all of them.
    os.setpgid(0, 0)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the hub has its own answer to it
    sys.exit(start(flags, worker))


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


@contextmanager
def _signals() -> Iterator[int]:
    """A file descriptor on which the numbers of signals to the supervisor arrive, a byte each."""
    arriving, waking = os.pipe()
    os.set_blocking(waking, False)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    before = signal.set_wakeup_fd(waking)
    try:
        yield arriving
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(arriving)
        os.close(waking)

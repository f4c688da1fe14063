"""The audit log: one JSON line for each record, in a file of its own, written by a thread.

A loop that waited for a disk would keep everybody waiting, so records are queued; a queue that
is full, or a disk, costs records and is told in the hub's own log, but no call fails for it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import Queue

import msgspec

from agent_hub.core.audit import Audit, Record

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024
OLDER_FILES = 10
MAX_QUEUED = 100_000
TOLD_EVERY = 1_000


class AuditLog(Audit):
    """Appends to `path`; at MAX_BYTES it becomes `path.1`, and so on, up to OLDER_FILES.

    `now` is the wall clock. Raises OSError when the file cannot be opened.
    """

    is_kept = True

    def __init__(self, path: Path, now: Callable[[], float], *, max_bytes: int = MAX_BYTES) -> None:
        self._now = now
        self._queue: Queue[logging.LogRecord] = Queue(MAX_QUEUED)
        self._lost = 0
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = _File(path, self._lose, maxBytes=max_bytes, backupCount=OLDER_FILES)
        self._handler = _Queueing(self._queue, self._lose)
        self._listener = QueueListener(self._queue, file)
        self._file = file
        self._listener.start()

    def record(self, record: Record) -> None:
        line = {"time": _text(self._now()), **msgspec.to_builtins(record)}
        text = msgspec.json.encode(line).decode()
        self._handler.handle(logging.LogRecord("audit", logging.INFO, "", 0, text, (), None))

    def _lose(self) -> None:
        """A record could not be written: say so, but not for each of thousands."""
        self._lost += 1
        if self._lost % TOLD_EVERY == 1:
            log.critical("the audit log cannot be written; %d records are lost", self._lost)

    def close(self) -> None:
        """Write what is queued; blocks until that is done."""
        self._listener.stop()
        with suppress(OSError):  # what could not be written was told
            self._file.close()


class _File(RotatingFileHandler):
    """For its owner's eyes, the rotated ones too."""

    def __init__(self, path: Path, on_loss: Callable[[], None], **more: int) -> None:
        self._on_loss = on_loss
        super().__init__(path, encoding="utf-8", **more)  # type: ignore[arg-type]
        self.setFormatter(logging.Formatter("%(message)s"))

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """To the file that has the name: one that was removed would take records unseen."""
        stream = self.stream
        if stream is not None and not self._has_the_name(stream):
            self.stream = None  # logging opens it again, or tells
            with suppress(OSError):  # what could not be written was told
                stream.close()
        super().emit(record)

    def _has_the_name(self, stream: TextIOWrapper) -> bool:
        try:
            return os.path.samestat(Path(self.baseFilename).stat(), os.fstat(stream.fileno()))
        except OSError:
            return False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        self._on_loss()


class _Queueing(QueueHandler):
    """Never waits for room."""

    def __init__(self, queue: Queue[logging.LogRecord], on_loss: Callable[[], None]) -> None:
        super().__init__(queue)
        self._on_loss = on_loss

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # a text already

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's own name)
        self._on_loss()


def _text(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

"""What a load process writes down: one JSON object on each line, with `kind` and `at`.

- accepted: a send was answered 202: id, to, epoch, seq, text, durability; `began` is when its
  first try began.
- refused: a request was answered otherwise, or not at all: code, seconds.
- read: a message was handed over: id, to, epoch, seq, text, attempt, reader.
- acked: the hub took an acknowledgement: ids, reader.
- opened: a socket was opened and welcomed: reader.

Times are `time.time()` of the one machine that all of it runs on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

Record = dict[str, Any]


class Recorder:
    """Writes a file, each line at once: what is written survives its writer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, kind: str, **facts: Any) -> None:
        self._file.write(json.dumps({"kind": kind, "at": time.time(), **facts}) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()


class Growing:
    """A file of records that is still being written: what came since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def news(self) -> Iterator[Record]:
        """The whole lines that nobody has looked at yet."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._at += len(line)
                yield json.loads(line)

"""One scrape for several processes behind one port (docs/decisions/0019).

Each process keeps its rows in a file of a folder that all share. Whichever is scraped adds up
the rows of all. A process that takes the place of one that died goes on from its counts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from agent_hub.prometheus.process import Sampled
from agent_hub.prometheus.series import Gauge, Labels, Rows, Series

END = ".metrics"


class Snapshot(Struct, array_like=True):
    """What one process has counted, by the name of the series. `pid` tells whether it lives."""

    pid: int
    rows: dict[str, list[tuple[Labels, list[float]]]]
    process: list[Sampled]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


class Share:
    """The place of one process among those that share a folder; `place` is 0, 1, 2, …

    Only one living process may have a place.
    """

    def __init__(self, folder: Path, place: int) -> None:
        self.place = place
        self._folder = folder
        self._path = folder / f"{place}{END}"

    @property
    def group(self) -> str:
        """The same for all that share the folder, and for nobody else on any machine."""
        return f"{socket.gethostname()} {self._folder}"

    def inherit(self, series: Sequence[Series]) -> None:
        """Go on from what the process counted that had this place before."""
        before = self._read(self._path)
        if before is None:
            return
        for one in series:
            if not isinstance(one, Gauge):
                one.merge(one.rows, dict(before.rows.get(one.name, ())))

    def write(self, series: Sequence[Series], process: list[Sampled]) -> None:
        """Tell the others. What is read is whole: it has its name only once it is written."""
        rows = {one.name: list(one.rows.items()) for one in series}
        new = self._path.with_suffix(".new")
        new.write_bytes(_encode(Snapshot(os.getpid(), rows, process)))
        new.replace(self._path)

    def merged(self, series: Sequence[Series]) -> tuple[dict[str, Rows], dict[str, list[Sampled]]]:
        """The rows of all processes by the name of the series, the living processes by place."""
        told: dict[str, Rows] = {one.name: {} for one in series}
        processes = {}
        for place, snapshot in self._snapshots():
            alive = _is_alive(snapshot.pid)
            if alive:
                processes[place] = snapshot.process
            for one in series:
                if alive or not isinstance(one, Gauge):
                    one.merge(told[one.name], dict(snapshot.rows.get(one.name, ())))
        return told, processes

    def _snapshots(self) -> Iterator[tuple[str, Snapshot]]:
        for path in sorted(self._folder.glob(f"*{END}")):
            snapshot = self._read(path)
            if snapshot is not None:
                yield path.stem, snapshot

    def _read(self, path: Path) -> Snapshot | None:
        with suppress(FileNotFoundError):
            return _decode(path.read_bytes())
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

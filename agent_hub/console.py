"""How a command speaks to the person who called it: lines on stderr, tables, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

PROGRAM = "agent-hub"
FAILED = 1
USAGE_ERROR = 2


def say(text: str, code: int) -> int:
    """Say it to the person, not to the script; the exit code."""
    if sys.stderr is not None:  # closed by the caller: `print` would take stdout then
        print(f"{PROGRAM}: {text}", file=sys.stderr)
    return code


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def moment(time: float) -> str:
    """Wall time as people write it."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

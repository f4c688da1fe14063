"""The log: one JSON line for each record on stderr, or readable text on a terminal.

A body or a credential never belongs here. A record carries the named fields below and nothing
else, and an exception is logged without its text, because parsers quote their input in it.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from agent_hub.core.trail import REQUEST_ID, TRAIL

FIELDS = (
    *("request_id", "agent", "to", "message_id", "traceparent", "via", "attempt"),
    *("method", "route", "status", "duration"),
)
OURS = "agent_hub"
HANDLER = "agent-hub"


def configure(level: str) -> None:
    """Log our records from `level` on, and what libraries say from warnings on."""
    root = logging.getLogger()
    ours = logging.getLevelNamesMapping()[level.upper()]
    _replace_handler(root, _handler())
    # Libraries log headers and payloads at their lower levels.
    root.setLevel(max(ours, logging.WARNING))
    logging.getLogger(OURS).setLevel(ours)
    TRAIL.is_kept = ours <= logging.DEBUG
    logging.getLogger("aiohttp.access").disabled = True


def change_level(level: str) -> None:
    """Log from another level on, and say so, whatever the level."""
    ours = logging.getLogger(OURS)
    before = logging.getLevelName(ours.level).lower()
    if before == level:
        return
    configure(level)
    text = "the log level is %s now, after %s"
    # Past the level: that less is logged from here on is the last that should go unsaid.
    ours.handle(
        ours.makeRecord(ours.name, logging.WARNING, "", 0, text, (level, before), exc_info=None)
    )


def _handler() -> logging.Handler:
    handler: logging.Handler
    if sys.stderr is None:  # closed by the caller, who wants no log
        handler = logging.NullHandler()
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(TextFormatter() if sys.stderr.isatty() else JSONFormatter())
    handler.set_name(HANDLER)
    return handler


def _replace_handler(root: logging.Logger, handler: logging.Handler) -> None:
    for old in [old for old in root.handlers if old.get_name() == HANDLER]:
        root.removeHandler(old)
    root.addHandler(handler)


class JSONFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_entry(record), default=str)


class TextFormatter(logging.Formatter):
    """A record as one readable line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = _entry(record)
        time, level, event = entry.pop("time"), entry.pop("level"), entry.pop("event")
        rest = "".join(f" {name}={value}" for name, value in entry.items())
        return _printable(f"{time} {level:<8} {event}{rest}")


def _entry(record: logging.LogRecord) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "time": _timestamp(record.created),
        "level": record.levelname.lower(),
        "event": _event(record),
    }
    if TRAIL.is_kept and (request_id := REQUEST_ID.get(None)) is not None:
        entry["request_id"] = request_id
    entry.update((name, getattr(record, name)) for name in FIELDS if hasattr(record, name))
    if record.exc_info and record.exc_info[1]:
        entry["exception"] = _describe(record.exc_info[1])
    return entry


def _timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(record: logging.LogRecord) -> str:
    message = record.getMessage()
    if record.name.partition(".")[0] == OURS:
        return message
    # asyncio prints the objects at fault on the lines that follow, with all they hold.
    return message.partition("\n")[0]


def _describe(error: BaseException) -> str:
    """The type of an exception and where it came from, innermost first, and its cause."""
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    # What the operating system refused is no one's message and says what to do.
    text = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    cause = f"; caused by {_describe(error.__cause__)}" if error.__cause__ else ""
    return " < ".join([f"{name}{text}", *places]) + cause


def _printable(text: str) -> str:
    """Escape what could move the cursor, colour the terminal or begin a forged line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

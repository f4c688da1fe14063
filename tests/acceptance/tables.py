"""Every table of a running hub and its size, found by walking it: a new one cannot escape."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any

from aiohttp import web
from msgspec import Struct

from agent_hub.app import HUB

TABLES = (dict, list, set, deque)
BOUNDED = {
    "Counter.rows": "a metric by its labels, which have few values",
    "Histogram.rows": "the same",
    "MemoryBackend._accepted": "sums since the start, by how a message can come",
    "MemoryBackend._acked": "and by how it can be acked",
    "Endings.counts": "and by how else it can end",
    "PrometheusMetrics._lags": "the last few",
}


def sizes(app: web.Application) -> Counter[str]:
    """Entries by the attribute that holds them, also where there are none; like ones are summed."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    ahead = deque[tuple[str, Any]]([("hub", app[HUB]), ("middlewares", list(app.middlewares))])
    ahead += [("handlers", route.handler) for route in app.router.routes()]
    while ahead:
        path, value = ahead.popleft()
        if id(value) in seen or path in BOUNDED:
            continue
        seen.add(id(value))
        if isinstance(value, TABLES):
            found[path] += len(value)
        ahead += _inside(path, value)
    return found


def _inside(path: str, value: Any) -> Iterable[tuple[str, Any]]:
    """What this holds, with the names of the places."""
    if isinstance(value, Mapping):
        return [(f"{path}[]", one) for pair in value.items() for one in pair]
    if isinstance(value, list | set | deque | tuple):
        return [(f"{path}[]", one) for one in value]
    if isinstance(value, MethodType):
        return [(path, value.__self__)]
    if isinstance(value, FunctionType):
        return [(path, cell.cell_contents) for cell in value.__closure__ or ()]
    if not type(value).__module__.startswith("agent_hub"):
        return []
    return [(f"{type(value).__name__}.{name}", getattr(value, name)) for name in _names(value)]


def _names(value: Any) -> Iterable[str]:
    """Its attributes, wherever they are kept."""
    if isinstance(value, Struct):
        return value.__struct_fields__
    slots = [name for one in type(value).__mro__ for name in getattr(one, "__slots__", ())]
    return [*slots, *getattr(value, "__dict__", ())]

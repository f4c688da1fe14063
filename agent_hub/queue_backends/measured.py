"""A store whose calls are timed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from time import perf_counter
from typing import Any, ParamSpec, TypeVar, cast

from agent_hub.core.errors import BackendUnavailable, HubError
from agent_hub.core.metrics import Metrics
from agent_hub.core.queue_backend import QueueBackend

P = ParamSpec("P")
T = TypeVar("T")

NOT_TIMED = frozenset({"open", "close", "tells_totals"})
OPERATIONS = frozenset(
    name for name, call in vars(QueueBackend).items() if iscoroutinefunction(call)
).difference(NOT_TIMED)
"""The calls of the interface that are awaited: the values of the label `op`."""


def measured(backend: QueueBackend, metrics: Metrics) -> QueueBackend:
    """The same store, with the time of each call told to `metrics`.

    For stores that wait for a disk or a network. In memory a call takes less time than to measure
    it, and what there is to see is in the duration of the requests.
    """
    return cast(QueueBackend, _Measured(backend, metrics))


class _Measured:
    """Whatever is not awaited, and what comes to the interface later, is the store's own."""

    def __init__(self, backend: QueueBackend, metrics: Metrics) -> None:
        self._backend = backend
        for op in OPERATIONS:
            setattr(self, op, _timed(op, getattr(backend, op), metrics))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def _timed(op: str, call: Callable[P, Awaitable[T]], metrics: Metrics) -> Callable[P, Awaitable[T]]:
    async def timed(*args: P.args, **kwargs: P.kwargs) -> T:
        started = perf_counter()
        try:
            return await call(*args, **kwargs)
        except Exception as error:
            refused = isinstance(error, HubError) and not isinstance(error, BackendUnavailable)
            if not refused:  # a refusal is an answer
                metrics.operation_failed(op)
            raise
        finally:
            metrics.operation(op, perf_counter() - started)

    return timed

"""What the hub counts, under the names that operators know."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Iterator
from typing import TypeVar

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from agent_hub.core.agent import Status
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.hub import Hub
from agent_hub.core.mail import Totals
from agent_hub.core.metrics import Metrics
from agent_hub.prometheus import process, store
from agent_hub.prometheus.series import Counter, Gauge, Histogram, Series
from agent_hub.prometheus.shared import Share

PREFIX = "agenthub_"

AGES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 86400)
FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
CLOSE_CODES = frozenset(
    {1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011, 4008, 4010, 4012, 4013}
    | {4500, 4501, 4502, 4503, 4504, 4509}
)
"""Those that the hub knows; a client may choose any, which must not become a label."""
OTHER = "other"
STATUS = {status: str(status) for status in range(100, 600)}

LAGS = 15
"""The ticks, one a second, of which the latest is told: a scrape sees not only the last one."""


_Series = TypeVar("_Series", bound=Series)


class PrometheusMetrics(Metrics):
    """Counts for one process, or with a `share` for one of several that are scraped as one.

    `backend` is the store's name, to be set before the first scrape.
    """

    def __init__(self, *, version: str, share: Share | None = None) -> None:
        self.backend = ""
        self._version = version
        self._share = share
        self._series: list[Series] = []
        self._lags: deque[float] = deque(maxlen=LAGS)

        self._rejected = self._counter("messages_rejected", "Sends refused, by code", "reason")
        self._delivered = self._counter(
            "messages_delivered", "Hand-overs to a reader", "via", "redelivered"
        )
        self._delivery = self._histogram(
            "message_delivery_seconds", "From accepted to handed over", bounds=AGES
        )
        self._ack = self._histogram("message_ack_seconds", "From accepted to acked", bounds=AGES)
        self._rate_limited = self._counter("rate_limited", "Calls refused by a rate limit")
        self._waits = self._counter("waits", "Questions that ended, by outcome", "outcome")
        self._waits_inflight = self._gauge("waits_inflight", "Questions that wait for an answer")
        self._sockets = self._gauge("websocket_connections", "Open WebSockets")
        self._closes = self._counter("websocket_closes", "WebSockets closed, by close code", "code")
        self._wakeups = self._counter(
            "wakeups", "Times a waiting reader found something, by what made it look", "source"
        )
        self._requests = self._histogram(
            "http_request_duration_seconds",
            "HTTP requests",
            "method",
            "route",
            "status",
            bounds=FAST,
        )
        self._operations = self._histogram(
            "backend_operation_seconds", "Calls of a store that waits", "op", bounds=FAST
        )
        self._errors = self._counter(
            "backend_errors", "Calls that the store could not answer", "op"
        )
        self._batches = self._histogram(
            "backend_commit_batch_messages", "Messages written at one go", bounds=BATCHES
        )
        self._lag = self._gauge(
            "event_loop_lag_seconds",
            f"Most that the event loop called back late in the last {LAGS} s",
            largest=True,
        )
        self._up = Gauge(PREFIX + "backend_up", "Whether the store can accept now")
        self._begin()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return self._keep(Counter(PREFIX + name, text, *labels))

    def _gauge(self, name: str, text: str, *, largest: bool = False) -> Gauge:
        return self._keep(Gauge(PREFIX + name, text, largest=largest))

    def _histogram(
        self, name: str, text: str, *labels: str, bounds: tuple[float, ...]
    ) -> Histogram:
        return self._keep(Histogram(PREFIX + name, text, *labels, bounds=bounds))

    def _keep(self, series: _Series) -> _Series:
        self._series.append(series)
        return series

    def _begin(self) -> None:
        """With all series that are sure to come: what has no series yet is not 0 to Prometheus."""
        for via in ("rest", "websocket", "mcp"):
            for redelivered in ("true", "false"):
                self._delivered.inc(via, redelivered, by=0)
        for outcome in ("replied", "pending", "crossed", "gone"):
            self._waits.inc(outcome, by=0)
        for source in ("hint", "poll"):
            self._wakeups.inc(source, by=0)
        if self._share is not None:
            self._share.inherit(self._series)

    # --- what happens ---------------------------------------------------------------------

    def rejected(self, reason: str) -> None:
        self._rejected.inc(reason)

    def delivered(self, via: str, redelivered: bool, seconds: float) -> None:
        self._delivered.inc(via, "true" if redelivered else "false")
        self._delivery.observe(seconds)

    def acked(self, mode: str, seconds: float) -> None:
        self._ack.observe(seconds)

    def rate_limited(self) -> None:
        self._rate_limited.inc()

    def wait_opened(self) -> None:
        self._waits_inflight.inc(1)

    def wait_closed(self, outcome: str) -> None:
        self._waits_inflight.inc(-1)
        self._waits.inc(outcome)

    def websocket_opened(self) -> None:
        self._sockets.inc(1)

    def websocket_closed(self, code: int) -> None:
        self._sockets.inc(-1)
        self._closes.inc(str(code) if code in CLOSE_CODES else OTHER)

    def woken(self, source: str) -> None:
        self._wakeups.inc(source)

    def committed(self, count: int) -> None:
        self._batches.observe(count)

    def operation(self, op: str, seconds: float) -> None:
        self._operations.observe(seconds, op)

    def operation_failed(self, op: str) -> None:
        self._errors.inc(op)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in METHODS else OTHER
        self._requests.observe(seconds, known, route, STATUS[status])

    def loop_lag(self, seconds: float) -> None:
        self._lags.append(seconds)
        self._lag.set(max(self._lags))
        self.write()  # as often as this is told, the others are

    def write(self) -> None:
        """Let the processes that share a port with this one know what it counted."""
        if self._share is not None:
            self._share.write(self._series, process.samples())

    # --- what is told ---------------------------------------------------------------------

    async def scrape(self, hub: Hub, accept: str) -> tuple[bytes, str]:
        """Everything as text in the format that `accept` asks for, and its content type."""
        totals, agents = await self._ask_store(hub)
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # the library compares a version that is not made of numbers
            encode, content_type = choose_encoder("")
        return encode(_Told([*self._families(totals, agents)])), content_type

    async def _ask_store(self, hub: Hub) -> tuple[Totals | None, dict[Status, int] | None]:
        """The store's own sums, if they are ours to tell and it answers."""
        self._up.set(0)
        try:
            await hub.ping()
            self._up.set(1)
        except BackendUnavailable:
            pass  # its sums may be known all the same
        try:
            if await hub.tells_totals():
                return await hub.totals(), await hub.census()
        except BackendUnavailable:
            self._up.set(0)
        return None, None

    def _families(
        self, totals: Totals | None, agents: dict[Status, int] | None
    ) -> Iterator[Metric]:
        yield from store.families(PREFIX, totals, agents)
        if self._share is None:
            rows = {one.name: one.rows for one in self._series}
            processes = {"": process.samples()}
        else:
            # First: whoever is scraped next must not tell less than this.
            self.write()
            rows, processes = self._share.merged(self._series)
        for one in self._series:
            yield one.family(rows[one.name])
        yield self._up.family(self._up.rows)
        yield self._build_info()
        yield from process.families(processes)

    def _build_info(self) -> Metric:
        labels = {
            "version": self._version,
            "python": platform.python_version(),
            "backend": self.backend,
        }
        info = GaugeMetricFamily(PREFIX + "build_info", "What runs here", labels=[*labels])
        info.add_metric([*labels.values()], 1)
        return info


class _Told(Collector):
    """What was collected, for the library to encode."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics

"""The hub's metrics for Prometheus. No label names an agent, a message or a path."""

from __future__ import annotations

import platform
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from agent_hub.core.agent import Status
from agent_hub.core.errors import BackendUnavailable
from agent_hub.core.hub import Hub
from agent_hub.core.metrics import Metrics

PREFIX = "agenthub_"

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, and nobody asks for it

AGES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1800, 86400)
FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300)


METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS"})
CLOSE_CODES = frozenset(
    {1000, 1001, 1002, 1003, 1006, 1007, 1009, 1011, 4008, 4010, 4012, 4013}
    | {4500, 4501, 4502, 4503, 4504, 4509}
)
"""Those that the hub knows; a client may choose any, which must not become a label."""

_Metric = TypeVar("_Metric", Counter, Histogram)


class PrometheusMetrics(Metrics):
    """Counts into a registry of its own. Children are looked up once: `labels()` is slow."""

    def __init__(self, *, version: str, backend: str) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(PREFIX + name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(PREFIX + name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(PREFIX + name, text, labels, registry=registry, buckets=buckets)

        accepted = counter(
            "messages_accepted", "Messages accepted, every copy counted", "via", "kind"
        )
        rejected = counter("messages_rejected", "Sends refused, by problem code", "reason")
        delivered = counter("messages_delivered", "Hand-overs to a reader", "via", "redelivered")
        acked = counter("messages_acked", "Messages settled by an ack", "mode")
        self._undelivered = {
            state: counter(f"messages_{state}", f"Messages that ended as {state}")
            for state in ("expired", "dead", "dropped")
        }
        delivery = histogram("message_delivery_seconds", "Accepted to handed over", buckets=AGES)
        settling = histogram("message_ack_seconds", "Accepted to acked", buckets=AGES)
        self._rate_limited = counter("rate_limited", "Calls refused by a rate limit")
        self._waits = counter("waits", "Questions that ended, by outcome", "outcome")
        self._waits_inflight = gauge("waits_inflight", "Questions that wait for an answer")
        self._sockets = gauge("websocket_connections", "Open WebSockets")
        self._closes = counter("websocket_closes", "WebSockets closed, by close code", "code")
        wakeups = counter("wakeups", "Times a waiting reader looked again", "source")
        request = histogram(
            "http_request_duration_seconds",
            "HTTP requests",
            "method",
            "route",
            "status",
            buckets=FAST,
        )
        self._lag = gauge("event_loop_lag_seconds", "How late the event loop called back last")
        self._inbox = gauge("inbox_messages", "Messages in inboxes", "state")
        self._oldest = gauge("inbox_oldest_age_seconds", "Age of the oldest ready message")
        self._agents = gauge("agents", "Registered agents", "status")
        self._backend_up = gauge("backend_up", "Whether the store answers")
        gauge("build_info", "What runs here", "version", "python", "backend").labels(
            version, platform.python_version(), backend
        ).set(1)

        self._accepted = _Children(accepted)
        self._rejected = _Children(rejected)
        self._delivered = _Children(delivered)
        self._acked = _Children(acked)
        self._woken = _Children(wakeups)
        self._request = _Children(request)
        self._delivery = delivery
        self._settling = settling

    def accepted(self, via: str, kind: str, count: int = 1) -> None:
        self._accepted.of(via, kind).inc(count)

    def rejected(self, reason: str) -> None:
        self._rejected.of(reason).inc()

    def delivered(self, via: str, redelivered: bool, seconds: float) -> None:
        self._delivered.of(via, "true" if redelivered else "false").inc()
        self._delivery.observe(seconds)

    def acked(self, mode: str, seconds: float) -> None:
        self._acked.of(mode).inc()
        self._settling.observe(seconds)

    def undelivered(self, state: str) -> None:
        self._undelivered[state].inc()

    def rate_limited(self) -> None:
        self._rate_limited.inc()

    def wait_opened(self) -> None:
        self._waits_inflight.inc()

    def wait_closed(self, outcome: str) -> None:
        self._waits_inflight.dec()
        self._waits.labels(outcome).inc()

    def websocket_opened(self) -> None:
        self._sockets.inc()

    def websocket_closed(self, code: int) -> None:
        self._sockets.dec()
        self._closes.labels(str(code) if code in CLOSE_CODES else "other").inc()

    def woken(self, source: str) -> None:
        self._woken.of(source).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in METHODS else "other"
        self._request.of(known, route, status).observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        self._lag.set(seconds)

    async def scrape(self, hub: Hub, accept: str) -> tuple[bytes, str]:
        """Everything as text in the format that `accept` asks for, and its content type."""
        await self._read_gauges(hub)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    async def _read_gauges(self, hub: Hub) -> None:
        try:
            totals, agents = await hub.totals(), await hub.census()
        except BackendUnavailable:
            self._backend_up.set(0)
            return
        self._backend_up.set(1)
        for state in ("ready", "leased", "kept"):
            self._inbox.labels(state).set(getattr(totals, state))
        self._oldest.set(totals.oldest_ready_age)
        for status in Status:
            self._agents.labels(status.value).set(agents[status])


class _Children(Generic[_Metric]):
    """The children of one metric by their labels; the library's own look-up takes a lock."""

    def __init__(self, metric: _Metric) -> None:
        self._metric: _Metric = metric
        self._children: dict[tuple[str | int, ...], _Metric] = {}

    def of(self, *labels: str | int) -> _Metric:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child

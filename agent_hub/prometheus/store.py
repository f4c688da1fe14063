"""The store's own sums as metrics: they outlive the process, so they are read and not counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from agent_hub.core.agent import Status
from agent_hub.core.mail import Totals

UNKNOWN = "unknown"
"""How messages came or went of which the store does not say it."""
WAYS_IN = (*product(("rest", "websocket", "mcp"), ("direct", "broadcast")), ("hub", "notice"))
WAYS_OUT = (("auto",), ("manual",))


def families(
    prefix: str, totals: Totals | None, agents: dict[Status, int] | None
) -> Iterator[Metric]:
    """Without totals the names alone: the store is away, or another process tells its sums."""
    yield from _sums(prefix, totals)
    yield from _states(prefix, totals)
    registered = GaugeMetricFamily(prefix + "agents", "Registered agents", labels=["status"])
    if agents is not None:
        for status in Status:
            registered.add_metric([status.value], agents[status])
    yield registered


def _sums(prefix: str, totals: Totals | None) -> Iterator[Metric]:
    accepted = CounterMetricFamily(
        prefix + "messages_accepted",
        "Messages accepted since the store was created, every copy counted",
        labels=["via", "kind"],
    )
    acked = CounterMetricFamily(
        prefix + "messages_acked", "Messages settled by an ack", labels=["mode"]
    )
    if totals is not None:
        _add(accepted, WAYS_IN, totals.accepted_by, totals.accepted)
        _add(acked, WAYS_OUT, {(way,): n for way, n in totals.acked_by.items()}, totals.acked)
    yield accepted
    yield acked
    for state in ("expired", "dead", "dropped"):
        text = f"Messages that ended as {state}"
        ended = CounterMetricFamily(f"{prefix}messages_{state}", text, labels=[])
        if totals is not None:
            ended.add_metric([], getattr(totals, state))
        yield ended


def _add(
    family: CounterMetricFamily,
    ways: tuple[tuple[str, ...], ...],
    counts: Mapping[Any, int],
    total: int,
) -> None:
    """From the start a series for each way: the sum of no series is not 0 to Prometheus."""
    told: dict[tuple[str, ...], int] = {**dict.fromkeys(ways, 0), **counts}
    if rest := total - sum(told.values()):
        unknown = (UNKNOWN,) * len(ways[0])
        told[unknown] = told.get(unknown, 0) + rest
    for labels, count in told.items():
        family.add_metric(labels, count)


def _states(prefix: str, totals: Totals | None) -> Iterator[Metric]:
    inbox = GaugeMetricFamily(
        prefix + "inbox_messages",
        "Messages in inboxes: ready and leased ones wait, kept ones were acked",
        labels=["state"],
    )
    oldest = GaugeMetricFamily(
        prefix + "inbox_oldest_age_seconds", "Age of the oldest ready message", labels=[]
    )
    if totals is not None:
        for state in ("ready", "leased", "kept"):
            inbox.add_metric([state], getattr(totals, state))
        oldest.add_metric([], totals.oldest_ready_age)
    yield inbox
    yield oldest

"""Processor time, memory, files and garbage collections of each process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

WORKER = "worker"
"""The label that tells processes behind one port apart; one alone has none."""

_registry = CollectorRegistry()
for _collector in (ProcessCollector, PlatformCollector, GCCollector):
    _collector(registry=_registry)


class Sampled(Struct, array_like=True):
    """One sample of a metric of the client library's own collectors."""

    metric: str
    text: str
    kind: str
    name: str
    labels: dict[str, str]
    value: float


def samples() -> list[Sampled]:
    """As this process is now."""
    return [
        Sampled(
            metric.name, metric.documentation, metric.type, sample.name, sample.labels, sample.value
        )
        for metric in _registry.collect()
        for sample in metric.samples
    ]


def families(processes: Mapping[str, Iterable[Sampled]]) -> list[Metric]:
    """The samples of all processes, by the name of each."""
    told: dict[str, Metric] = {}
    for worker, sampled in processes.items():
        more = {WORKER: worker} if worker else {}
        for one in sampled:
            metric = told.setdefault(one.metric, Metric(one.metric, one.text, one.kind))
            metric.add_sample(one.name, {**one.labels, **more}, one.value)
    return list(told.values())

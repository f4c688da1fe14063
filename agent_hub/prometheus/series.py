"""Counters, gauges and histograms of one event loop (docs/decisions/0019).

A series is a row of numbers, by its labels: the value, or of a histogram the count in each bucket
and then the sum. Rows of several processes add up. All calls come from one thread, so that there
is no lock, and to count costs a look-up and an addition.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]
Rows = dict[Labels, list[float]]


class Series:
    """All series of one name. `rows` are by label values, each of a closed set."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name = name
        self.text = text
        self.labels = labels
        self.rows: Rows = {}
        if not labels:
            self.rows[()] = self.new_row()

    def new_row(self) -> list[float]:
        return [0.0]

    def merge(self, rows: Rows, others: Mapping[Labels, Iterable[float]]) -> None:
        """Put what another process counted into rows of this."""
        for labels, other in others.items():
            mine = rows.get(labels)
            rows[labels] = list(other) if mine is None else self.merged(mine, other)

    def merged(self, mine: list[float], other: Iterable[float]) -> list[float]:
        return [one + another for one, another in zip(mine, other, strict=True)]

    def family(self, rows: Rows) -> Metric:
        """As the exposition formats want it."""
        raise NotImplementedError


class Counter(Series):
    """A number that only grows."""

    def inc(self, *labels: str, by: float = 1) -> None:
        row = self.rows.get(labels)
        if row is None:
            row = self.rows[labels] = [0.0]
        row[0] += by

    def family(self, rows: Rows) -> Metric:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, (value,) in rows.items():
            family.add_metric(labels, value)
        return family


class Gauge(Series):
    """A number as it is now. Over processes it is the sum, or the largest if that says more."""

    def __init__(self, name: str, text: str, *, largest: bool = False) -> None:
        super().__init__(name, text)
        self._largest = largest

    def set(self, value: float) -> None:
        self.rows[()] = [value]

    def inc(self, by: float) -> None:
        self.rows[()][0] += by

    def merged(self, mine: list[float], other: Iterable[float]) -> list[float]:
        if not self._largest:
            return super().merged(mine, other)
        return [max(*mine, *other)]

    def family(self, rows: Rows) -> Metric:
        family = GaugeMetricFamily(self.name, self.text, labels=self.labels)
        for labels, (value,) in rows.items():
            family.add_metric(labels, value)
        return family


class Histogram(Series):
    """How often a value fell under each of the bounds, and the sum of all."""

    def __init__(self, name: str, text: str, *labels: str, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._words = [*map(floatToGoString, bounds), "+Inf"]
        super().__init__(name, text, *labels)

    def new_row(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2)

    def observe(self, value: float, *labels: str) -> None:
        row = self.rows.get(labels)
        if row is None:
            row = self.rows[labels] = self.new_row()
        row[bisect_left(self.bounds, value)] += 1
        row[-1] += value

    def family(self, rows: Rows) -> Metric:
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        for labels, row in rows.items():
            family.add_metric(labels, self._cumulative(row), sum_value=row[-1])
        return family

    def _cumulative(self, row: list[float]) -> list[tuple[str, float]]:
        total = 0.0
        buckets = []
        for word, count in zip(self._words, row[:-1], strict=True):
            total += count
            buckets.append((word, total))
        return buckets

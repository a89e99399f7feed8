"""Metric families made of query results: one sample for each combination of label values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import TextClause
from sqlalchemy.orm import Session

Samples = Mapping[tuple[str, ...], float]


def counter(name: str, about: str, labels: Sequence[str], samples: Samples) -> Metric:
    """Return a counter; its exposed name ends with `_total`."""
    return _add(CounterMetricFamily(name, about, labels=labels), samples)


def gauge(name: str, about: str, labels: Sequence[str], samples: Samples) -> Metric:
    """Return a gauge."""
    return _add(GaugeMetricFamily(name, about, labels=labels), samples)


def query_samples(session: Session, query: TextClause, *values: Iterable[str]) -> Samples:
    """Return the last column of *query* by its other columns.

    *values* are the label values of each of those; a combination without a row counts 0.
    """
    rows = {tuple(row[:-1]): row[-1] for row in session.execute(query)}
    return {key: rows.get(key, 0) for key in product(*values)}


def _add(family: CounterMetricFamily | GaugeMetricFamily, samples: Samples) -> Metric:
    for labels, value in samples.items():
        family.add_metric(labels, value)
    return family

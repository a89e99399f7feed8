"""The text that /metrics answers with."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from shared.monitoring import multiprocess
from shared.monitoring.database_collector import DatabaseCollector
from shared.settings import metrics_folder


def render(facts: DatabaseCollector) -> Callable[[], bytes]:
    """Return the function that renders the metrics: the sum over all processes, and *facts*."""
    place = metrics_folder()

    def answer() -> bytes:
        registry = CollectorRegistry()
        registry.register(facts)
        if place:
            registry.register(multiprocess.MultiprocessCollector(place))
            return generate_latest(registry)
        return generate_latest(REGISTRY) + generate_latest(registry)

    return answer

"""The text of /metrics."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from shared.monitoring.database_collector import DatabaseCollector
from shared.monitoring.multiprocess import MultiprocessCollector
from shared.settings import metrics_folder


def render(database: DatabaseCollector) -> Callable[[], bytes]:
    """Return the function that renders the metrics of all processes and of the *database*."""
    folder = metrics_folder()

    def answer() -> bytes:
        registry = CollectorRegistry()
        registry.register(database)
        if folder:
            registry.register(MultiprocessCollector(folder))
            return generate_latest(registry)
        return generate_latest(REGISTRY) + generate_latest(registry)

    return answer

"""Metrics read from PostgreSQL at the scrape: jobs, suggestions, drift and the traffic split."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from shared import model_retention
from shared.db.engine import transaction
from shared.errors import Unavailable
from shared.log import get_logger
from shared.monitoring import drift_metrics, job_metrics, suggestion_metrics
from shared.monitoring.snapshot_file import EMPTY, Snapshot, SnapshotFile
from shared.registry.store import Registry
from shared.settings import metrics_folder

log = get_logger()


class DatabaseCollector(Collector):
    """Collects metrics from the tables; while PostgreSQL is away, those of the last read.

    All processes serve the newest snapshot that any of them has read. Else a counter could seem to
    go back from one scrape to the next.

    Args:
        registry: names the live version, whose drift is reported.
        canary: share of users in the model arm while no change is recorded, 0..1.
        retire_days: how long a version that learned from a deleted user may stay.
        clock: Unix time.
    """

    MAX_AGE_S = 5.0
    HISTORY_MAX_AGE_S = 60.0  # of what costs the most and changes slowly
    FIRST_TIMEOUT_S = 1.0  # a frozen database never answers
    TIMEOUT_S = 0.025  # the result of a slower read is served at the next scrape

    def __init__(
        self,
        engine: Engine,
        registry: Registry,
        *,
        canary: float = 0.0,
        retire_days: int = 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._canary = canary
        self._retire_days = retire_days
        self._clock = clock
        self._history: list[Metric] = []
        self._history_at = float("-inf")
        self._newest = EMPTY
        self._tried_at = float("-inf")
        self._lock = threading.Lock()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._reading: Future[None] | None = None
        folder = metrics_folder()
        self._file = SnapshotFile(folder, clock) if folder else None

    def collect(self) -> Iterable[Metric]:
        """Return the newest metrics; if they are old, wait at most TIMEOUT_S for newer ones."""
        with self._lock:
            if self._file:
                self._keep_newest(self._file.read())
            now = self._clock()
            is_old = now - max(self._newest.at, self._tried_at) > self.MAX_AGE_S
            if is_old and (self._reading is None or self._reading.done()):
                self._tried_at = now
                self._reading = self._reader.submit(self._refresh)
                timeout_s = self.TIMEOUT_S if self._newest.families else self.FIRST_TIMEOUT_S
                with contextlib.suppress(TimeoutError):
                    self._reading.result(timeout_s)
            return self._newest.families

    def _keep_newest(self, snapshot: Snapshot) -> None:
        self._newest = max(self._newest, snapshot, key=lambda snapshot: snapshot.at)

    def _refresh(self) -> None:
        try:
            snapshot = self._read()
        except (Unavailable, SQLAlchemyError) as error:
            # The last snapshot stays; /readyz shows the outage.
            log.warning("metrics.jobs_not_read", error=type(error).__name__)
            return
        if self._file:
            self._file.write(snapshot)
        self._keep_newest(snapshot)

    def _read(self) -> Snapshot:
        at = self._clock()
        with transaction(self._engine) as session:
            current = [
                *job_metrics.collect_training(session),
                *job_metrics.collect_current(session),
                *suggestion_metrics.collect_traffic_split(session, self._canary),
            ]
            if at - self._history_at > self.HISTORY_MAX_AGE_S:
                self._history = [
                    suggestion_metrics.collect_answers(session),
                    *job_metrics.collect_history(session),
                    *drift_metrics.collect(session, self._registry),
                    model_retention.live_retirement(session, self._registry, self._retire_days),
                ]
                self._history_at = at
        read_at = GaugeMetricFamily(
            "lm_facts_read_timestamp_seconds",
            "When what PostgreSQL knows of jobs and suggestions was last read",
            value=at,
        )
        return Snapshot(at, [read_at, *current, *self._history])

"""Metrics read from PostgreSQL at the scrape: jobs, suggestions, drift and the traffic split."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import model_retention
from shared.db.engine import transaction
from shared.db.tables import Action, Arm, JobKind, JobState
from shared.errors import Unavailable
from shared.log import get_logger
from shared.monitoring import drift_metrics, job_metrics
from shared.monitoring.snapshot_file import Snapshot, SnapshotFile
from shared.registry.store import Registry
from shared.settings import metrics_folder

log = get_logger()

# How a training run ended; `kept`: its gate, or the request, kept the version from going live.
TRAIN_STATUSES = ("deployed", "kept", "skipped", "failed", "cancelled")
_TRAIN_RUNS = text(
    """
    SELECT CASE
        WHEN state <> 'succeeded' THEN state
        WHEN (result->>'skipped')::boolean THEN 'skipped'
        WHEN (result->>'deployed')::boolean THEN 'deployed'
        ELSE 'kept' END AS status, count(*), extract(epoch FROM max(finished_at))
    FROM jobs WHERE kind = 'train' AND finished_at IS NOT NULL GROUP BY 1
    """
)
_LAST_F1 = text(
    """
    SELECT (result->>'val_f1_macro')::float FROM jobs
    WHERE kind = 'train' AND state = 'succeeded' AND result->>'val_f1_macro' IS NOT NULL
    ORDER BY finished_at DESC LIMIT 1
    """
)
_OPEN_JOBS = text(
    "SELECT kind, state, count(*) FROM jobs WHERE state IN ('queued', 'running') GROUP BY 1, 2"
)
_SHARES = text("SELECT canary, trial FROM rollout_changes ORDER BY id DESC LIMIT 1")
# The arm that the guardrail ended is the one that its change took away.
_TRIPS = text(
    """
    SELECT CASE WHEN before IS DISTINCT FROM challenger THEN 'challenger' ELSE 'model' END, count(*)
    FROM (
        SELECT action, challenger, lag(challenger) OVER (ORDER BY id) AS before FROM rollout_changes
    ) AS change WHERE action = 'guardrail' GROUP BY 1
    """
)
_ANSWERS = text(
    """
    SELECT arm, answer, count(*) FROM (
        SELECT arm, answer FROM suggestions
        WHERE answer IS NOT NULL AND label IS NOT NULL AND NOT forced
            AND created_at >= now() - interval '28 days'
        ORDER BY created_at DESC LIMIT 100000
    ) AS newest GROUP BY 1, 2
    """
)


class DatabaseCollector(Collector):
    """Collects metrics from the tables; while PostgreSQL is away, those of the last read.

    Args:
        registry: names the live version, whose drift is reported.
        canary: share of users in the model arm while no change is recorded, 0..1.
        retire_days: how long a version that learned from a deleted user may be there.
        clock: Unix time.
    """

    MAX_AGE_S = 5.0
    HISTORY_MAX_AGE_S = 60.0  # what costs the most, and changes slowly
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
        self._known = Snapshot(0.0, [])
        self._tried_at = float("-inf")
        self._asking = threading.Lock()
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="job-facts")
        self._reading: Future[Snapshot] | None = None
        place = metrics_folder()
        self._shelf = SnapshotFile(place, clock) if place else None

    def collect(self) -> Iterable[Metric]:
        """Return the newest metrics; if they are old, wait at most PATIENCE_S for newer ones."""
        with self._asking:
            self._take_newer_of_other_processes()
            now = self._clock()
            old = now - self._known.at > self.MAX_AGE_S
            if self._reading is None and old and now - self._tried_at > self.MAX_AGE_S:
                self._tried_at = now
                self._reading = self._reader.submit(self._read)
                wait(
                    [self._reading],
                    self.TIMEOUT_S if self._known.families else self.FIRST_TIMEOUT_S,
                )
            if self._reading is not None and self._reading.done():
                self._take(self._reading)
            return self._known.families

    def _take_newer_of_other_processes(self) -> None:
        """All processes serve the same snapshot: with two, a counter could seem to go back."""
        other = self._shelf.read() if self._shelf else None
        if other and other.at > self._known.at:
            self._known = other

    def _take(self, read: Future[Snapshot]) -> None:
        self._reading = None
        try:
            found = read.result()
        except (Unavailable, SQLAlchemyError) as error:
            # The last snapshot stays; /readyz shows the outage.
            log.warning("metrics.jobs_not_read", error=type(error).__name__)
        else:
            self._known = max(self._known, found, key=lambda it: it.at)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering must not query the database."""
        return []

    def _read(self) -> Snapshot:
        at = self._clock()
        with transaction(self._engine) as session:
            ended = {row[0]: (row[1], row[2]) for row in session.execute(_TRAIN_RUNS)}
            f1 = session.execute(_LAST_F1).scalar_one_or_none()
            waiting = {(row[0], row[1]): row[2] for row in session.execute(_OPEN_JOBS)}
            shares = session.execute(_SHARES).one_or_none() or (self._canary, 0.0)
            trips = {row[0]: row[1] for row in session.execute(_TRIPS)}
            queues = job_metrics.collect_current(session)
            if at - self._history_at > self.HISTORY_MAX_AGE_S:
                self._history = [
                    _answers(session),
                    *job_metrics.collect_history(session),
                    *drift_metrics.collect(session, self._registry),
                    model_retention.live_retirement(session, self._registry, self._retire_days),
                ]
                self._history_at = at
        runs = CounterMetricFamily(
            "lm_ml_train_runs", "Training runs that have ended, by how", labels=["status"]
        )
        last = GaugeMetricFamily(
            "lm_ml_train_last_finished_timestamp_seconds",
            "When a run last ended so (Unix time)",
            labels=["status"],
        )
        for status in TRAIN_STATUSES:
            count, finished = ended.get(status, (0, None))
            runs.add_metric([status], count)
            if finished is not None:
                last.add_metric([status], float(finished))
        jobs = GaugeMetricFamily(
            "lm_jobs_open", "Jobs queued and running", labels=["kind", "state"]
        )
        for kind in JobKind:
            for state in (JobState.QUEUED, JobState.RUNNING):
                jobs.add_metric([kind.value, state.value], waiting.get((kind, state), 0))
        rollout = _rollout(shares[0], shares[1], trips)
        read = GaugeMetricFamily(
            "lm_facts_read_timestamp_seconds",
            "When what PostgreSQL knows of jobs and suggestions was last read",
            value=at,
        )
        found: list[Metric] = [read, runs, last, jobs, *rollout, *queues, *self._history]
        if f1 is not None:
            gauge = GaugeMetricFamily(
                "lm_ml_train_val_f1_macro", "Validation macro-F1 of the last run that gave one"
            )
            gauge.add_metric([], f1)
            found.append(gauge)
        snapshot = Snapshot(at, found)
        if self._shelf:
            self._shelf.write(snapshot)
        return snapshot


def _rollout(canary: float, trial: float, trips: Mapping[str, int]) -> list[Metric]:
    of_canary = GaugeMetricFamily(
        "lm_suggest_canary_share", "Share of users in the model arm, 0 to 1", value=canary
    )
    of_trial = GaugeMetricFamily(
        "lm_suggest_trial_share", "Share of users in the arm of the version on trial", value=trial
    )
    tripped = CounterMetricFamily(
        "lm_suggest_guardrail_trips", "Arms that the guardrail ended", labels=["arm"]
    )
    for arm in (Arm.MODEL, Arm.CHALLENGER):
        tripped.add_metric([arm.value], trips.get(arm, 0))
    return [of_canary, of_trial, tripped]


def _answers(session: Session) -> Metric:
    counted = {(row[0], row[1]): row[2] for row in session.execute(_ANSWERS)}
    answers = GaugeMetricFamily(
        "lm_suggest_answers",
        "Answers to labels suggested in the last 28 days, of the newest 100,000",
        labels=["arm", "answer"],
    )
    for arm in Arm:
        for action in Action:
            answers.add_metric([arm.value, action.value], counted.get((arm, action), 0))
    return answers

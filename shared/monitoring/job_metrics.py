"""Metrics of jobs and queues: waiting and running times, outcomes, training runs, heartbeats."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import Float

from shared.db.tables import JobKind, JobState
from shared.jobs.heartbeats import BEAT
from shared.jobs.store import OPEN, QUEUE_OF, QUEUES
from shared.monitoring.families import counter, gauge, query_samples

WAIT_BOUNDS_S = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
WORK_BOUNDS_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
# How a training run ended; `kept`: its gate, or the request, kept the version from going live.
TRAIN_STATUSES = ("deployed", "kept", "skipped", "failed", "cancelled")

_COUNT_OPEN = text(
    "SELECT kind, state, count(*) FROM jobs WHERE state IN ('queued', 'running') GROUP BY 1, 2"
)
_OLDEST = text(
    """
    SELECT kind,
        coalesce(extract(epoch FROM now() - min(created_at)
            FILTER (WHERE state = 'queued' AND parent_id IS NULL)), 0) AS waited_s,
        coalesce(extract(epoch FROM
            max(least(now(), lease_until)) FILTER (WHERE lease_until IS NOT NULL)), 0) AS leased_at
    FROM jobs WHERE state IN ('queued', 'running') GROUP BY 1
    """
)
_HEARTBEATS = text(
    "SELECT name, extract(epoch FROM sent_at)::float8, extract(epoch FROM received_at)::float8"
    " FROM heartbeats"
)
_TRAIN_RUNS = text(
    """
    SELECT CASE
        WHEN state <> 'succeeded' THEN state
        WHEN (result->>'skipped')::boolean THEN 'skipped'
        WHEN (result->>'deployed')::boolean THEN 'deployed'
        ELSE 'kept' END AS status, count(*), extract(epoch FROM max(finished_at))::float8
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
_COUNT_ENDED = text(
    "SELECT kind, state, count(*) FROM jobs WHERE finished_at IS NOT NULL GROUP BY 1, 2"
)
_SPANS = """
    SELECT kind, width_bucket(seconds, :bounds) AS bucket, count(*) AS jobs,
        sum(seconds) AS seconds FROM (
        SELECT kind, extract(epoch FROM {span})::float8 AS seconds FROM jobs
        WHERE finished_at IS NOT NULL AND started_at IS NOT NULL
    ) AS span GROUP BY 1, 2
    """
_WAITED, _WORKED = (
    text(_SPANS.format(span=span)).bindparams(bindparam("bounds", type_=ARRAY(Float)))
    for span in ("started_at - created_at", "finished_at - started_at")
)


def collect_training(session: Session) -> list[Metric]:
    """Return the outcomes of the training runs."""
    runs = {status: (count, at) for status, count, at in session.execute(_TRAIN_RUNS)}
    f1 = session.execute(_LAST_F1).scalar_one_or_none()
    metrics = [
        counter(
            "lm_ml_train_runs",
            "Training runs that have ended, by how",
            ["status"],
            {(status,): runs.get(status, (0, None))[0] for status in TRAIN_STATUSES},
        ),
        gauge(
            "lm_ml_train_last_finished_timestamp_seconds",
            "When a run last ended so (Unix time)",
            ["status"],
            {(status,): at for status, (_, at) in runs.items()},
        ),
    ]
    if f1 is not None:
        about = "Validation macro-F1 of the last run that gave one"
        metrics.append(GaugeMetricFamily("lm_ml_train_val_f1_macro", about, value=f1))
    return metrics


def collect_current(session: Session) -> list[Metric]:
    """Return the state of the queues."""
    waited_s, active_at = dict.fromkeys(QUEUES, 0.0), dict.fromkeys(QUEUES, 0.0)
    for row in session.execute(_OLDEST):
        queue = QUEUE_OF[JobKind(row.kind)]
        waited_s[queue] = max(waited_s[queue], float(row.waited_s))
        active_at[queue] = max(active_at[queue], float(row.leased_at))
    beats = {name: (sent, received) for name, sent, received in session.execute(_HEARTBEATS)}
    return [
        gauge(
            "lm_jobs_open",
            "Jobs queued and running",
            ["kind", "state"],
            query_samples(session, _COUNT_OPEN, JobKind, OPEN),
        ),
        GaugeMetricFamily(
            "lm_beat_last_tick_timestamp_seconds",
            "When the beat last sent something (Unix time); 0: never",
            value=beats.get(BEAT, (0.0, 0.0))[0],
        ),
        gauge(
            "lm_queue_oldest_job_seconds",
            "For how long the oldest job of the queue has waited; 0: none waits",
            ["queue"],
            {(queue,): waited_s[queue] for queue in QUEUES},
        ),
        gauge(
            "lm_queue_consumed_timestamp_seconds",
            "When a worker last took a probe of the queue or worked on a job of it; 0: never",
            ["queue"],
            {(queue,): max(active_at[queue], beats.get(queue, (0.0, 0.0))[1]) for queue in QUEUES},
        ),
        gauge(
            "lm_queue_round_trip_seconds",
            "How long the last probe took from the beat through the broker to a worker",
            ["queue"],
            {
                (queue,): max(0.0, beats[queue][1] - beats[queue][0])
                for queue in QUEUES
                if queue in beats
            },
        ),
    ]


def collect_history(session: Session) -> list[Metric]:
    """Return outcomes and times of the jobs that have ended; the query reads all jobs."""
    return [
        counter(
            "lm_jobs_ended",
            "Jobs that have ended, by how",
            ["kind", "state"],
            query_samples(session, _COUNT_ENDED, JobKind, ENDS),
        ),
        _histogram(
            "lm_jobs_queue_seconds",
            "Time in the queue, of jobs that have ended, to the first attempt",
            WAIT_BOUNDS_S,
            session.execute(_WAITED, {"bounds": list(WAIT_BOUNDS_S)}),
        ),
        _histogram(
            "lm_jobs_run_seconds",
            "Time from the first attempt to the end, of jobs that have ended",
            WORK_BOUNDS_S,
            session.execute(_WORKED, {"bounds": list(WORK_BOUNDS_S)}),
        ),
    ]


def _histogram(
    name: str, about: str, bounds: tuple[float, ...], rows: Iterable[Row[Any]]
) -> Metric:
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
    sums: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        counts[row.kind][row.bucket] += row.jobs
        sums[row.kind] += row.seconds
    family = HistogramMetricFamily(name, about, labels=["kind"])
    upper = [*map(str, bounds), "+Inf"]
    for kind in JobKind:
        buckets = list(zip(upper, accumulate(counts[kind]), strict=True))
        family.add_metric([kind.value], buckets, sum_value=sums[kind])
    return family

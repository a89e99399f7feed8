"""What the tables say of queues and jobs: how long they wait and work, and who is alive."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session
from sqlalchemy.types import Float

from shared.db.tables import JobKind, JobState
from shared.jobs.heartbeats import BEAT
from shared.jobs.routing import QUEUE_OF, QUEUES

WAIT_BOUNDS = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
WORK_BOUNDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)

_OPEN = text(
    """
    SELECT kind,
        coalesce(extract(epoch FROM now() - min(created_at)
            FILTER (WHERE state = 'queued' AND parent_id IS NULL)), 0),
        extract(epoch FROM
            max(least(now(), lease_until)) FILTER (WHERE lease_until IS NOT NULL))
    FROM jobs WHERE state IN ('queued', 'running') GROUP BY 1
    """
)
_HEARTBEATS = text(
    "SELECT name, extract(epoch FROM sent_at), extract(epoch FROM received_at) FROM heartbeats"
)
_ENDED = text("SELECT kind, state, count(*) FROM jobs WHERE finished_at IS NOT NULL GROUP BY 1, 2")
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


def collect_current(session: Session) -> list[Metric]:
    """How the queues stand now."""
    oldest, held = dict.fromkeys(QUEUES, 0.0), dict.fromkeys(QUEUES, 0.0)
    for kind, age, alive_at in session.execute(_OPEN):
        queue = QUEUE_OF[JobKind(kind)]
        oldest[queue] = max(oldest[queue], float(age))
        held[queue] = max(held[queue], float(alive_at or 0))
    known = {row[0]: (float(row[1]), float(row[2])) for row in session.execute(_HEARTBEATS)}
    beat = GaugeMetricFamily(
        "lm_beat_last_tick_timestamp_seconds",
        "When the beat last sent something (Unix time); 0: never",
        value=known.get(BEAT, (0.0, 0.0))[0],
    )
    age = GaugeMetricFamily(
        "lm_queue_oldest_job_seconds",
        "For how long the oldest job of the queue has waited; 0: none waits",
        labels=["queue"],
    )
    consumed = GaugeMetricFamily(
        "lm_queue_consumed_timestamp_seconds",
        "When a worker last took a probe of the queue or worked on a job of it; 0: never",
        labels=["queue"],
    )
    trip = GaugeMetricFamily(
        "lm_queue_round_trip_seconds",
        "How long the last probe took from the beat through the broker to a worker",
        labels=["queue"],
    )
    for queue in QUEUES:
        age.add_metric([queue], oldest[queue])
        sent_at, received_at = known.get(queue, (0.0, 0.0))
        consumed.add_metric([queue], max(held[queue], received_at))
        if received_at:
            trip.add_metric([queue], max(0.0, received_at - sent_at))
    return [beat, age, consumed, trip]


def collect_history(session: Session) -> list[Metric]:
    """How the jobs that have ended did; it costs more, and changes slowly."""
    ends = {(row[0], row[1]): row[2] for row in session.execute(_ENDED)}
    ended = CounterMetricFamily(
        "lm_jobs_ended", "Jobs that have ended, by how", labels=["kind", "state"]
    )
    for kind in JobKind:
        for state in ENDS:
            ended.add_metric([kind.value, state.value], ends.get((kind, state), 0))
    waited = session.execute(_WAITED, {"bounds": list(WAIT_BOUNDS)})
    worked = session.execute(_WORKED, {"bounds": list(WORK_BOUNDS)})
    return [
        ended,
        _histogram(
            "lm_jobs_queue_seconds",
            "Time in the queue, of jobs that have ended, to the first attempt",
            WAIT_BOUNDS,
            waited,
        ),
        _histogram(
            "lm_jobs_run_seconds",
            "Time from the first attempt to the end, of jobs that have ended",
            WORK_BOUNDS,
            worked,
        ),
    ]


def _histogram(
    name: str,
    about: str,
    bounds: tuple[float, ...],
    rows: Iterable[Row[Any]],
) -> Metric:
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(bounds) + 1))
    sums: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        counts[row.kind][row.bucket] += row.jobs
        sums[row.kind] += row.seconds
    found = HistogramMetricFamily(name, about, labels=["kind"])
    for kind in JobKind:
        upto = [*map(str, bounds), "+Inf"]
        buckets = list(zip(upto, accumulate(counts[kind]), strict=True))
        found.add_metric([kind.value], buckets, sum_value=sums[kind])
    return found

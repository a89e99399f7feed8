"""What the tables say of queues, jobs and signs of life, whoever asks and whoever has died."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import text

from shared.db.engine import transaction
from shared.db.tables import JobKind
from shared.jobs import heartbeats
from shared.jobs import store as job_store
from shared.monitoring import job_metrics
from tests.support.metrics import add_job, samples_by_label


@pytest.fixture
def session(engine, clean):
    """Empty tables."""
    with transaction(engine) as session:
        yield session


def test_queue_time_and_run_time_are_measured_by_kind(session):
    """Each job once, in its bucket and all above; every kind and outcome is there at 0."""
    add_job(session, "train", ago=1000, waited=3, worked=40)
    add_job(session, "train", ago=2000, waited=90, worked=40, state="failed")

    found = samples_by_label(job_metrics.collect_history(session))

    assert found["lm_jobs_ended_total", "train", "succeeded"] == 1
    assert found["lm_jobs_ended_total", "train", "failed"] == 1
    assert found["lm_jobs_ended_total", "rules", "cancelled"] == 0
    waits = [found["lm_jobs_queue_seconds_bucket", "train", le] for le in ("2.0", "5.0", "+Inf")]
    assert waits == [0, 1, 2]
    assert found["lm_jobs_queue_seconds_sum", "train"] == pytest.approx(93)
    assert found["lm_jobs_run_seconds_bucket", "train", "60.0"] == 2
    assert found["lm_jobs_run_seconds_count", "features"] == 0


def test_oldest_job_of_a_queue_ignores_ranges_of_a_running_job(session):
    """The ranges of a long job wait their turn: that is no fault."""
    parent, _ = job_store.create(session, JobKind.FEATURES, requested_by="test")
    session.flush()
    claim = job_store.claim(session, parent.id)
    job_store.add_ranges(session, claim, [{"first": 1}])
    session.execute(text("UPDATE jobs SET created_at = now() - interval '1 h'"))
    only_ranges = samples_by_label(job_metrics.collect_current(session))
    job_store.create(session, JobKind.TRAIN, requested_by="test")
    session.execute(
        text("UPDATE jobs SET created_at = now() - interval '100 s' WHERE kind = 'train'")
    )

    found = samples_by_label(job_metrics.collect_current(session))

    assert only_ranges["lm_queue_oldest_job_seconds", "features"] == 0
    assert found["lm_queue_oldest_job_seconds", "training"] == pytest.approx(100)


def test_worker_on_a_long_job_counts_as_alive_without_a_probe(session):
    """Its lease says so, until it runs out."""
    job, _ = job_store.create(session, JobKind.TRAIN, requested_by="test")
    session.flush()
    idle = samples_by_label(job_metrics.collect_current(session))
    job_store.claim(session, job.id)
    working = samples_by_label(job_metrics.collect_current(session))
    session.execute(text("UPDATE jobs SET lease_until = now() - interval '500 s'"))
    dead = samples_by_label(job_metrics.collect_current(session))

    name = "lm_queue_consumed_timestamp_seconds", "training"
    assert idle[name] == 0
    now = float(session.scalar(text("SELECT extract(epoch FROM now())")))
    assert working[name] == pytest.approx(now, abs=0.001)
    assert dead[name] == pytest.approx(now - 500, abs=0.001)


def test_late_probe_does_not_replace_a_newer_one(engine, clean):
    """Of two signs of life the one sent last counts."""
    with transaction(engine) as session:
        now = session.scalar(text("SELECT now()"))
        for seconds in (10, 2, 30):
            heartbeats.record(session, "training", now - dt.timedelta(seconds=seconds))

        found = samples_by_label(job_metrics.collect_current(session))

    assert found["lm_queue_round_trip_seconds", "training"] == pytest.approx(2)
    assert ("lm_queue_round_trip_seconds", "features") not in found

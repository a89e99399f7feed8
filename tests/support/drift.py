"""Drift jobs, trainings and labels for the tests of drift and retraining."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import replace
from typing import Any

from sqlalchemy import func, text

from shared.db.engine import transaction
from shared.db.tables import Job, JobKind
from shared.jobs import requests as job_requests
from shared.registry.train_report import SkippedRun, TrainReport
from shared.services import Services
from tests.support.jobs import run_job
from worker.drift import job as drift_job
from worker.drift import retraining
from worker.drift.profile import newest_date
from worker.features import build
from worker.training import pipeline

SOON = func.now() + dt.timedelta(seconds=1)  # after the version was made


def run_training(services: Services, *, only_if_new: bool = True) -> TrainReport | SkippedRun:
    request = pipeline.TrainRequest(
        job_id="t", limit=None, only_if_new=only_if_new, min_labels=20, threshold_f1=0.1
    )
    return pipeline.run(services.engine, services.registry, request, lambda *_: None)


def train_and_deploy(services: Services) -> str:
    """The run_id of a new version, which is live."""
    result = run_training(services)
    assert isinstance(result, TrainReport)
    services.registry.deploy(result.run_id, by="test", why="a test")
    return result.run_id


def train_again(services: Services) -> str:
    """Another version, live, after one more label."""
    execute(
        services,
        "INSERT INTO transaction_labels (txn_id, label, source) SELECT id, 'Fuel', 'human' FROM "
        "transactions WHERE id NOT IN (SELECT txn_id FROM transaction_labels) ORDER BY id LIMIT 1",
    )
    return train_and_deploy(services)


def run_drift_job(services: Services, hour: str = "") -> Job:
    """A drift job that has ended."""
    hour = hour or secrets.token_hex(4)
    job = job_requests.request_drift(services.engine, services.publisher, hour=hour)
    assert job is not None
    return run_job(services, job.id, drift_job.run)


def drift_result(services: Services) -> dict[str, Any]:
    """The result of a drift job."""
    job = run_drift_job(services)
    assert job.result is not None, job.error
    return job.result


def execute(services: Services, statement: str) -> None:
    with services.engine.begin() as connection:
        connection.execute(text(statement))


def in_last_week(services: Services) -> str:
    """The condition that a transaction is of the last week."""
    last = newest_date(services.engine)
    assert last is not None
    return f"date >= '{last - dt.timedelta(days=7)}'"


def count_last_week(services: Services) -> int:
    with services.engine.connect() as connection:
        count = connection.scalar(
            text(f"SELECT count(*) FROM ml_features WHERE {in_last_week(services)}")
        )
    assert count
    return int(count)


def label_last_week(services: Services) -> None:
    """Label all of it, most of it wrongly."""
    execute(
        services,
        "INSERT INTO transaction_labels (txn_id, label, source) "
        f"SELECT id, 'Coffee', 'human' FROM transactions WHERE {in_last_week(services)}",
    )


def shift_last_week(services: Services) -> None:
    """Change its amounts and currency, and build the features anew."""
    execute(
        services,
        "UPDATE transactions SET amount = amount * 20, currency = 'JPY' "
        f"WHERE {in_last_week(services)}",
    )
    build.build_pending(services.engine, build.Scope())


def relabel_sixty(services: Services) -> None:
    execute(
        services,
        "UPDATE transaction_labels SET label = 'Fuel', updated_at = now() "
        "WHERE txn_id IN (SELECT txn_id FROM transaction_labels LIMIT 60)",
    )


def add_ended_training(services: Services, hours_ago: float, result: dict[str, Any]) -> None:
    with transaction(services.engine) as session:
        session.add(
            Job(
                id=secrets.token_hex(8),
                kind=JobKind.TRAIN,
                state="succeeded",
                requested_by="test",
                result=result,
                finished_at=func.now() - dt.timedelta(hours=hours_ago),
            )
        )


def decide(services: Services, **settings: Any) -> retraining.Decision:
    """Whether training starts now, with some settings changed."""
    with transaction(services.engine) as session:
        return retraining.decide(session, services.registry, replace(services.settings, **settings))

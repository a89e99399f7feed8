"""Drift is looked at as a job, told by the API and /metrics, and brings training forward."""

from __future__ import annotations

import datetime as dt
import secrets
import shutil
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, text

from shared.db.engine import transaction
from shared.db.tables import DriftReport, Job, JobKind, JobState
from shared.jobs import requests as job_requests
from shared.jobs import store as job_store
from shared.registry.train_report import TrainReport
from shared.services import Services
from tests.support.factories import add_transactions, report
from web.app import create_app
from worker.drift import job as drift_job
from worker.drift import retraining
from worker.drift.profile import FILE, WEEKS, ReferenceProfile, newest_date
from worker.execution.runner import run
from worker.features import build as feature_build
from worker.training import pipeline

SOON = func.now() + dt.timedelta(seconds=1)  # after the version was made


@pytest.fixture
def trained(services: Services) -> str:
    """A version trained on the labels of most of a year, and live; features are built of all."""
    add_transactions(services.engine, 12_000, labelled=3_000)
    feature_build.build_pending(services.engine, feature_build.Scope())
    result = pipeline.run(
        services.engine,
        services.registry,
        pipeline.TrainRequest(
            job_id="t", limit=None, only_if_new=False, min_labels=20, threshold_f1=0.1
        ),
        lambda *_: None,
    )
    assert isinstance(result, TrainReport)
    services.registry.deploy(result.run_id, by="test", why="a test")
    return result.run_id


def run_drift_job(services: Services) -> dict[str, Any]:
    """What a drift job reports."""
    job = job_requests.request_drift(services.engine, services.publisher, hour=secrets.token_hex(4))
    assert job is not None
    with transaction(services.engine) as session:
        claim = job_store.claim(session, job.id)
    assert claim is not None
    run(services, claim, drift_job.run)
    with transaction(services.engine) as session:
        ended = job_store.get(session, job.id)
    assert ended.result is not None, ended.error
    return ended.result


def change(services: Services, statement: str) -> None:
    with services.engine.begin() as connection:
        connection.execute(text(statement))


def last_week(services: Services) -> str:
    last = newest_date(services.engine)
    assert last is not None
    return f"date >= '{last - dt.timedelta(days=7)}'"


def test_version_stores_its_reference_profile(services: Services, trained: str) -> None:
    files = services.registry.load(trained).files

    told = ReferenceProfile.from_file(files[FILE])

    assert len(told.inputs) == WEEKS
    assert sum(sum(week["channel"].values()) for week in told.inputs) > 1_000
    assert sum(sum(week["category"].values()) for week in told.answers if week) > 300
    assert 0.5 < told.accuracy <= 1
    assert len(files[FILE]) < 50_000
    assert b"ROADSIDE" not in files[FILE].upper()


def test_alike_week_raises_no_alarm(client: FlaskClient, services: Services, trained: str) -> None:
    assert run_drift_job(services)["alarms"] == []

    told = client.get("/ml/v2/drift").json
    (only,) = told["reports"]
    assert (only["run_id"], only["alarm"]) == (trained, False)
    assert only["rows"] == len_of_last_week(services)
    assert 0 <= only["estimated_accuracy"] <= 1
    assert told["retrain"]["ask"] is False
    assert told["retrain"]["why"].endswith("no drift")


def len_of_last_week(services: Services) -> int:
    with services.engine.connect() as connection:
        count = connection.scalar(
            text(f"SELECT count(*) FROM ml_features WHERE {last_week(services)}")
        )
    assert count
    return int(count)


def test_shift_is_reported_and_starts_training_early(
    client: FlaskClient, services: Services, trained: str
) -> None:
    where = last_week(services)
    change(
        services, f"UPDATE transactions SET amount = amount * 20, currency = 'JPY' WHERE {where}"
    )
    feature_build.build_pending(services.engine, feature_build.Scope())

    result = run_drift_job(services)

    assert {"amount", "currency"} <= set(result["alarms"])
    assert result["retrain"]["ask"] is True
    assert "drift of amount" in result["retrain"]["why"]
    with transaction(services.engine) as session:
        asked = job_store.get(session, result["retrain"]["job_id"])
    assert (asked.kind, asked.params["reason"]) == (JobKind.TRAIN, result["retrain"]["why"])
    assert asked.params["only_if_new"] is True
    assert 'lm_drift_alarm{check="currency"} 1.0' in client.get("/metrics").text


def test_week_is_compared_once(services: Services, trained: str) -> None:
    assert run_drift_job(services)["alarms"] == []
    assert run_drift_job(services)["alarms"] is None

    with transaction(services.engine) as session:
        assert session.query(DriftReport).count() == 1


def test_accuracy_estimate_is_compared_with_later_labels(
    client: FlaskClient, services: Services, trained: str
) -> None:
    run_drift_job(services)
    where = last_week(services)
    change(
        services,
        "INSERT INTO transaction_labels (txn_id, label, source) "
        f"SELECT id, 'Coffee', 'human' FROM transactions WHERE {where}",
    )
    run_drift_job(services)

    told = client.get("/ml/v2/drift").json["reports"][0]

    assert told["labelled"] == len_of_last_week(services)
    assert 0 < told["accuracy"] < 0.7


def labelled_last_week(services: Services) -> None:
    change(
        services,
        "INSERT INTO transaction_labels (txn_id, label, source) "
        f"SELECT id, 'Coffee', 'human' FROM transactions WHERE {last_week(services)}",
    )


def train_again(services: Services) -> str:
    """Another version, live: one more label has come."""
    change(
        services,
        "INSERT INTO transaction_labels (txn_id, label, source) SELECT id, 'Fuel', 'human' FROM "
        "transactions WHERE id NOT IN (SELECT txn_id FROM transaction_labels) ORDER BY id LIMIT 1",
    )
    result = pipeline.run(
        services.engine,
        services.registry,
        pipeline.TrainRequest(
            job_id="t", limit=None, only_if_new=True, min_labels=20, threshold_f1=0.1
        ),
        lambda *_: None,
    )
    assert isinstance(result, TrainReport)
    services.registry.deploy(result.run_id, by="test", why="a test")
    return result.run_id


def test_accuracy_estimate_is_compared_after_another_deployment(
    client: FlaskClient, services: Services, trained: str
) -> None:
    """There is training each night, and labels come days later."""
    run_drift_job(services)
    assert train_again(services) != trained
    labelled_last_week(services)
    run_drift_job(services)

    earlier = client.get("/ml/v2/drift").json["reports"][-1]

    assert earlier["run_id"] == trained
    assert earlier["labelled"] == len_of_last_week(services)
    assert 0 < earlier["accuracy"] < 0.7


def test_undone_labels_are_not_counted(
    client: FlaskClient, services: Services, trained: str
) -> None:
    run_drift_job(services)
    labelled_last_week(services)
    run_drift_job(services)
    change(
        services,
        "DELETE FROM transaction_labels WHERE txn_id IN "
        f"(SELECT id FROM transactions WHERE {last_week(services)})",
    )
    run_drift_job(services)

    told = client.get("/ml/v2/drift").json["reports"][0]

    assert (told["labelled"], told["accuracy"]) == (0, None)


def test_same_shift_starts_training_early_only_once(services: Services, trained: str) -> None:
    """The reference of the version it led to leaves that week out, and so raises it again."""
    where = last_week(services)
    change(
        services, f"UPDATE transactions SET amount = amount * 20, currency = 'JPY' WHERE {where}"
    )
    feature_build.build_pending(services.engine, feature_build.Scope())
    assert run_drift_job(services)["retrain"]["ask"] is True
    change(services, "DELETE FROM jobs WHERE kind = 'train'")
    train_again(services)

    result = run_drift_job(services)

    assert {"amount", "currency"} <= set(result["alarms"])
    assert result["retrain"]["ask"] is False
    assert "since which there has been training" in result["retrain"]["why"]


@pytest.mark.parametrize(
    ("alarm", "day", "asks"),
    [("amount", 14, False), ("channel", 14, True), ("amount", 15, True)],
    ids=["the same", "another", "a week later"],
)
def test_overlapping_week_starts_training_only_for_another_alarm(
    services: Services, trained: str, alarm: str, day: int, asks: bool
) -> None:
    later = {
        "window_start": dt.date(2026, 5, day - 7),
        "window_end": dt.date(2026, 5, day),
        "created_at": func.now() + dt.timedelta(seconds=1),
    }
    with transaction(services.engine) as session:
        session.add(report("amount", run_id="before"))
        session.flush()
        session.add(report(alarm, run_id=trained, **later))

    assert decision(services).retrain is asks


def test_no_accuracy_is_estimated_from_learned_rows_only(
    client: FlaskClient, services: Services, trained: str
) -> None:
    change(
        services,
        "INSERT INTO transaction_labels (txn_id, label, source, updated_at) "
        f"SELECT id, 'Coffee', 'human', '2000-01-01' FROM transactions WHERE {last_week(services)}",
    )
    run_drift_job(services)

    assert client.get("/ml/v2/drift").json["reports"][0]["estimated_accuracy"] is None


def test_missing_live_version_does_not_prevent_training(services: Services, trained: str) -> None:
    shutil.rmtree(services.settings.registry_dir / "versions")

    assert run_drift_job(services)["retrain"]["ask"]


def test_no_comparison_without_a_stored_reference_profile(services: Services) -> None:
    assert run_drift_job(services)["alarms"] is None


def test_after_a_rollback_drift_of_the_other_version_is_ignored(
    client: FlaskClient, services: Services, trained: str
) -> None:
    with transaction(services.engine) as session:
        session.add(report("amount", run_id=trained))
    assert 'lm_drift_alarm{check="amount"} 1.0' in scrape_metrics(services)
    train_again(services)

    assert 'lm_drift_alarm{check="amount"} 0.0' in scrape_metrics(services)
    assert not decision(services).retrain
    services.registry.rollback(by="test", why="a test")
    assert 'lm_drift_alarm{check="amount"} 1.0' in scrape_metrics(services)


def test_old_alarm_is_no_longer_reported(services: Services, trained: str) -> None:
    with transaction(services.engine) as session:
        old = func.now() - dt.timedelta(days=9)
        session.add(report("amount", run_id=trained, created_at=old))

    assert 'lm_drift_alarm{check="amount"} 0.0' in scrape_metrics(services)
    assert "lm_drift_report_timestamp_seconds" not in scrape_metrics(services)


def scrape_metrics(services: Services) -> str:
    """As a process that begins now would tell it."""
    return create_app(services).test_client().get("/metrics").text


def test_failing_comparison_still_counts_new_labels(services: Services, trained: str) -> None:
    change(services, "UPDATE transaction_labels SET label = 'Fuel', updated_at = now()")
    change(services, "ALTER TABLE ml_features RENAME COLUMN norm_desc TO gone")
    try:
        job = job_requests.request_drift(services.engine, services.publisher, hour="1")
        assert job is not None
        with transaction(services.engine) as session:
            claim = job_store.claim(session, job.id)
        assert claim is not None
        run(services, claim, drift_job.run)
        with transaction(services.engine) as session:
            assert job_store.get(session, job.id).state is JobState.FAILED
            (asked,) = job_store.list_newest(session, limit=1, kind=JobKind.TRAIN)
    finally:
        change(services, "ALTER TABLE ml_features RENAME COLUMN gone TO norm_desc")

    assert "new labels of people" in asked.params["reason"]


def decision(services: Services, **settings: Any) -> retraining.Decision:
    with transaction(services.engine) as session:
        return retraining.decide(session, services.registry, replace(services.settings, **settings))


def ended(
    services: Services, hours_ago: float, result: dict[str, Any], state: str = "succeeded"
) -> None:
    with transaction(services.engine) as session:
        job = Job(
            id=secrets.token_hex(8),
            kind=JobKind.TRAIN,
            state=state,
            requested_by="test",
            result=result,
            finished_at=func.now() - dt.timedelta(hours=hours_ago),
        )
        session.add(job)


def test_first_training_does_not_wait_for_the_night(services: Services) -> None:
    assert not decision(services).retrain
    add_transactions(services.engine, 30, labelled=25)

    assert decision(services) == (True, "no version yet, 25 labels of 20 needed")
    assert not decision(services, retrain_labels=0).retrain


def test_labels_of_deleted_transactions_are_not_counted(services: Services) -> None:
    add_transactions(services.engine, 30, labelled=25)
    change(services, "UPDATE transactions SET deleted_at = now() WHERE id % 2 = 0")

    assert not decision(services).retrain


def test_a_night_with_too_few_labels_is_skipped_and_says_so(services: Services) -> None:
    add_transactions(services.engine, 30, labelled=5)

    result = pipeline.run(
        services.engine,
        services.registry,
        pipeline.TrainRequest(
            job_id="t", limit=None, only_if_new=True, min_labels=20, threshold_f1=0.1
        ),
        lambda *_: None,
    )

    assert result.to_json() == {
        "skipped": True,
        "reason": "5 labelled transactions found, 20 needed",
    }


def test_new_human_labels_start_training_early(services: Services, trained: str) -> None:
    change(
        services,
        "UPDATE transaction_labels SET label = 'Fuel', updated_at = now() "
        "WHERE txn_id IN (SELECT txn_id FROM transaction_labels LIMIT 60)",
    )

    assert decision(services, retrain_labels=50) == (True, "60 new labels of people, 60 are enough")
    assert not decision(services, retrain_labels=100).retrain


@pytest.mark.parametrize(
    ("refused", "hours", "asks"), [(1, 5, False), (1, 7, True), (2, 7, False), (2, 13, True)]
)
def test_wait_doubles_after_each_refused_run(
    services: Services, trained: str, refused: int, hours: float, asks: bool
) -> None:
    with transaction(services.engine) as session:
        session.add(
            report("amount", run_id=trained, created_at=func.now() + dt.timedelta(seconds=1))
        )
    ended(services, 400, {"deployed": False})
    ended(services, 300, {"deployed": True})
    for number in range(refused):
        ended(services, hours + number, {"deployed": False})
    ended(services, 100, {"skipped": True})

    found = decision(services)

    assert found.retrain is asks
    assert "drift of amount" in found.why
    assert asks or f"{refused} runs in a row did not go live" in found.why


def test_run_without_new_labels_is_not_repeated_each_hour(services: Services, trained: str) -> None:
    with transaction(services.engine) as session:
        session.add(
            report("amount", run_id=trained, created_at=func.now() + dt.timedelta(seconds=1))
        )
    assert decision(services).retrain
    ended(services, 0, {"skipped": True})

    found = decision(services)

    assert not found.retrain
    assert "nothing had changed to learn from" in found.why


def test_labels_after_a_skipped_night_start_training_early(
    services: Services, trained: str
) -> None:
    ended(services, 1, {"skipped": True})
    change(
        services,
        "UPDATE transaction_labels SET label = 'Fuel', updated_at = now() "
        "WHERE txn_id IN (SELECT txn_id FROM transaction_labels LIMIT 60)",
    )

    assert decision(services) == (True, "60 new labels of people, 60 are enough")


def test_api_has_the_reason_of_a_run(client: FlaskClient, services: Services) -> None:
    add_transactions(services.engine, 30, labelled=25)

    job_id = run_drift_job(services)["retrain"]["job_id"]

    told = client.get(f"/ml/v2/jobs/{job_id}").json
    assert told["reason"] == "no version yet, 25 labels of 20 needed"
    assert told["requested_by"] == "drift"

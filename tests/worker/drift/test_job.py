"""The drift job: it compares a week, reports it by the API and /metrics, and asks for training."""

from __future__ import annotations

import datetime as dt
import shutil

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func

from shared.db.engine import transaction
from shared.db.tables import DriftReport, JobKind, JobState
from shared.jobs import store as job_store
from shared.services import Services
from tests.support.drift import (
    count_last_week,
    decide,
    drift_result,
    execute,
    in_last_week,
    label_last_week,
    run_drift_job,
    shift_last_week,
    train_again,
)
from tests.support.factories import add_transactions, report
from web.app import create_app


def scrape_metrics(services: Services) -> str:
    """What a new process exports."""
    return create_app(services).test_client().get("/metrics").text


def test_alike_week_raises_no_alarm(client: FlaskClient, services: Services, trained: str) -> None:
    assert drift_result(services)["alarms"] == []

    answer = client.get("/ml/v2/drift").json
    (only,) = answer["reports"]
    assert (only["run_id"], only["alarm"]) == (trained, False)
    assert only["rows"] == count_last_week(services)
    assert 0 <= only["estimated_accuracy"] <= 1
    assert answer["retrain"]["ask"] is False
    assert answer["retrain"]["why"].endswith("no drift")


def test_shift_is_reported_and_starts_training_early(
    client: FlaskClient, services: Services, trained: str
) -> None:
    shift_last_week(services)

    result = drift_result(services)

    assert {"amount", "currency"} <= set(result["alarms"])
    assert result["retrain"]["ask"] is True
    assert "drift of amount" in result["retrain"]["why"]
    with transaction(services.engine) as session:
        asked = job_store.get(session, result["retrain"]["job_id"])
    assert (asked.kind, asked.params["reason"]) == (JobKind.TRAIN, result["retrain"]["why"])
    assert asked.params["only_if_new"] is True
    assert 'lm_drift_alarm{check="currency"} 1.0' in client.get("/metrics").text


def test_week_is_compared_once(services: Services, trained: str) -> None:
    assert drift_result(services)["alarms"] == []
    assert drift_result(services)["alarms"] is None

    with transaction(services.engine) as session:
        assert session.query(DriftReport).count() == 1


def test_accuracy_estimate_is_compared_with_later_labels(
    client: FlaskClient, services: Services, trained: str
) -> None:
    drift_result(services)
    label_last_week(services)
    drift_result(services)

    week = client.get("/ml/v2/drift").json["reports"][0]

    assert week["labelled"] == count_last_week(services)
    assert 0 < week["accuracy"] < 0.7


def test_accuracy_estimate_is_compared_after_another_deployment(
    client: FlaskClient, services: Services, trained: str
) -> None:
    """There is training each night, and labels come days later."""
    drift_result(services)
    assert train_again(services) != trained
    label_last_week(services)
    drift_result(services)

    earlier = client.get("/ml/v2/drift").json["reports"][-1]

    assert earlier["run_id"] == trained
    assert earlier["labelled"] == count_last_week(services)
    assert 0 < earlier["accuracy"] < 0.7


def test_undone_labels_are_not_counted(
    client: FlaskClient, services: Services, trained: str
) -> None:
    drift_result(services)
    label_last_week(services)
    drift_result(services)
    execute(
        services,
        "DELETE FROM transaction_labels WHERE txn_id IN "
        f"(SELECT id FROM transactions WHERE {in_last_week(services)})",
    )
    drift_result(services)

    week = client.get("/ml/v2/drift").json["reports"][0]

    assert (week["labelled"], week["accuracy"]) == (0, None)


def test_same_shift_starts_training_early_only_once(services: Services, trained: str) -> None:
    """The reference of the version it led to leaves that week out, and so raises it again."""
    shift_last_week(services)
    assert drift_result(services)["retrain"]["ask"] is True
    execute(services, "DELETE FROM jobs WHERE kind = 'train'")
    train_again(services)

    result = drift_result(services)

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

    assert decide(services).retrain is asks


def test_no_accuracy_is_estimated_from_learned_rows_only(
    client: FlaskClient, services: Services, trained: str
) -> None:
    execute(
        services,
        "INSERT INTO transaction_labels (txn_id, label, source, updated_at) SELECT id, 'Coffee', "
        f"'human', '2000-01-01' FROM transactions WHERE {in_last_week(services)}",
    )
    drift_result(services)

    assert client.get("/ml/v2/drift").json["reports"][0]["estimated_accuracy"] is None


def test_missing_live_version_does_not_prevent_training(services: Services, trained: str) -> None:
    shutil.rmtree(services.settings.registry_dir / "versions")

    assert drift_result(services)["retrain"]["ask"]


def test_no_comparison_without_a_stored_reference_profile(services: Services) -> None:
    assert drift_result(services)["alarms"] is None


def test_after_a_rollback_drift_of_the_other_version_is_ignored(
    client: FlaskClient, services: Services, trained: str
) -> None:
    with transaction(services.engine) as session:
        session.add(report("amount", run_id=trained))
    assert 'lm_drift_alarm{check="amount"} 1.0' in scrape_metrics(services)
    train_again(services)

    assert 'lm_drift_alarm{check="amount"} 0.0' in scrape_metrics(services)
    assert not decide(services).retrain
    services.registry.rollback(by="test", why="a test")
    assert 'lm_drift_alarm{check="amount"} 1.0' in scrape_metrics(services)


def test_old_alarm_is_no_longer_reported(services: Services, trained: str) -> None:
    with transaction(services.engine) as session:
        old = func.now() - dt.timedelta(days=9)
        session.add(report("amount", run_id=trained, created_at=old))

    assert 'lm_drift_alarm{check="amount"} 0.0' in scrape_metrics(services)
    assert "lm_drift_report_timestamp_seconds" not in scrape_metrics(services)


def test_failing_comparison_still_counts_new_labels(services: Services, trained: str) -> None:
    execute(services, "UPDATE transaction_labels SET label = 'Fuel', updated_at = now()")
    execute(services, "ALTER TABLE ml_features RENAME COLUMN norm_desc TO gone")
    try:
        assert run_drift_job(services).state is JobState.FAILED
        with transaction(services.engine) as session:
            (asked,) = job_store.list_newest(session, limit=1, kind=JobKind.TRAIN)
    finally:
        execute(services, "ALTER TABLE ml_features RENAME COLUMN gone TO norm_desc")

    assert "new labels of people" in asked.params["reason"]


def test_api_has_the_reason_of_a_run(client: FlaskClient, services: Services) -> None:
    add_transactions(services.engine, 30, labelled=25)

    job_id = drift_result(services)["retrain"]["job_id"]

    job = client.get(f"/ml/v2/jobs/{job_id}").json
    assert job["reason"] == "no version yet, 25 labels of 20 needed"
    assert job["requested_by"] == "drift"

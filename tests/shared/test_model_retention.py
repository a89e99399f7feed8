"""A version that may have learned from a deleted user goes in time, and says when."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from shared import model_retention
from shared.db.engine import transaction
from shared.experiments import traffic_split
from shared.services import Services
from shared.settings import Settings
from tests.support.api import deploy_a_model
from tests.support.factories import add_transactions
from tests.support.registry_damage import overwrite
from worker import tasks
from worker.training import pipeline

NOW = dt.datetime.now(dt.UTC)
DAYS = 30


@pytest.fixture(autouse=True)
def _others(services: Services) -> None:
    add_transactions(services.engine, 300, labelled=300)


@pytest.fixture
def stored(client: FlaskClient) -> None:
    """A transaction of ada's."""
    one = {"external_id": "x", "user_id": "ada", "date": "2026-05-01", "amount": -5}
    client.post("/ml/v2/transactions", json={"transactions": [{**one, "merchant": "BEAN HOUSE"}]})


@pytest.fixture
def ada(client: FlaskClient, stored: None) -> None:
    """A user with one label."""
    client.post("/ml/v2/labels", json={"labels": [{"external_id": "x", "label": "Coffee"}]})


def deleted(client: FlaskClient) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = client.delete("/ml/v2/users?user_id=ada").json["models"]
    return models


def a_day_left(services: Services) -> Settings:
    return replace(services.settings, retire_days=1)


def run_training(services: Services, **wishes: Any) -> dict[str, Any]:
    usual = {"only_if_new": True, "min_labels": 20, "threshold_f1": 0.1, "limit": None}
    request = pipeline.TrainRequest(job_id="t", **{**usual, **wishes})
    return pipeline.run(services.engine, services.registry, request, lambda *_: None).to_json()


def test_deletion_response_has_the_removal_date_of_each_version(
    client: FlaskClient, services: Services, ada: None
) -> None:
    before = deploy_a_model(services.engine, services.registry)
    live = deploy_a_model(services.engine, services.registry)

    models = deleted(client)

    assert [(it["run_id"], it["live"]) for it in models] == [(live, True), (before, False)]
    for model in models:
        by = dt.datetime.fromisoformat(model["retire_by"])
        assert dt.timedelta(0) <= by - NOW - dt.timedelta(days=DAYS) < dt.timedelta(hours=1)
    assert deleted(client) == []


def test_version_made_before_the_user_existed_stays(
    client: FlaskClient, services: Services
) -> None:
    deploy_a_model(services.engine, services.registry)
    one = {"external_id": "y", "user_id": "ada", "date": "2026-05-01", "amount": -5}
    client.post("/ml/v2/transactions", json={"transactions": [one]})

    assert deleted(client) == []


def test_version_that_learned_a_removed_label_is_retired(
    client: FlaskClient, services: Services, ada: None
) -> None:
    """Rules take their labels back, and people theirs, and nothing tells of it."""
    learned = deploy_a_model(services.engine, services.registry)
    with services.engine.begin() as connection:
        connection.execute(text("DELETE FROM transaction_labels WHERE label = 'Coffee'"))

    assert [it["run_id"] for it in deleted(client)] == [learned]


def test_version_in_training_during_a_deletion_is_retired(
    client: FlaskClient, services: Services, ada: None
) -> None:
    """It had read his label, and is stored afterwards."""
    version = services.registry.load(deploy_a_model(services.engine, services.registry))
    deleted(client)
    read_at = version.manifest.created_at

    late = services.registry.save(version.files, {**version.manifest.meta, "read_at": read_at})
    tomorrow = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    new = services.registry.save(version.files, {**version.manifest.meta, "read_at": tomorrow})

    with transaction(services.engine) as session:
        due = model_retention.retirement_due(session, services.registry.versions(), DAYS)
    assert late.run_id in due
    assert new.run_id not in due


def test_versions_that_are_not_live_are_removed_in_the_last_night(
    client: FlaskClient, services: Services, ada: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "get_services", lambda: services)
    before = deploy_a_model(services.engine, services.registry)
    live = deploy_a_model(services.engine, services.registry)
    deleted(client)
    tasks.nightly()
    assert {it.run_id for it in services.registry.versions()} == {before, live}

    monkeypatch.setattr(
        tasks, "get_services", lambda: replace(services, settings=a_day_left(services))
    )
    tasks.nightly()

    assert {it.run_id for it in services.registry.versions()} == {live}
    current = services.registry.current()
    assert current is not None
    assert current.run_id == live


def test_a_trial_of_a_version_that_retires_ends(
    client: FlaskClient, services: Services, ada: None
) -> None:
    tried = deploy_a_model(services.engine, services.registry)
    deploy_a_model(services.engine, services.registry)
    with transaction(services.engine) as session:
        traffic_split.start_trial(session, services.settings, tried, 0.1, by="test", why="a test")
    deleted(client)

    with transaction(services.engine) as session:
        gone = model_retention.retire(session, services.registry, a_day_left(services))

    assert gone == [tried]
    with transaction(services.engine) as session:
        assert traffic_split.current(session, services.settings).challenger is None


def test_damaged_pointer_does_not_prevent_nightly_training(
    client: FlaskClient, services: Services, ada: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training puts it right; nothing is removed until then."""
    monkeypatch.setattr(
        tasks, "get_services", lambda: replace(services, settings=a_day_left(services))
    )
    deploy_a_model(services.engine, services.registry)
    deleted(client)
    overwrite(services.settings.registry_dir / "deploy" / "CURRENT", b"damaged")

    tasks.nightly()

    jobs = client.get("/ml/v2/jobs").json["jobs"]
    assert [job["kind"] for job in jobs] == ["features"]
    assert len(services.registry.versions()) == 1


def test_in_the_last_night_a_new_version_need_not_beat_the_live_one(
    client: FlaskClient, services: Services, ada: None
) -> None:
    """Else one that is hard to beat would stay for ever; the threshold still counts."""
    deploy_a_model(services.engine, services.registry)
    deleted(client)
    first = run_training(services)
    assert run_training(services)["skipped"], "nothing is new, and nothing retires"
    assert "live model" in first["gate"]["reason"]

    again = run_training(services, retire_days=1)

    assert again["gate"]["passed"]
    assert "live model" not in again["gate"]["reason"]

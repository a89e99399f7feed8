"""Canary and trial over HTTP."""

from __future__ import annotations

import pytest

from shared.db.engine import transaction
from shared.db.tables import Action, Arm
from shared.errors import InvalidInput
from shared.experiments import traffic_split
from shared.experiments.traffic_split import TrafficSplit
from shared.monitoring.database_collector import DatabaseCollector
from shared.registry.train_report import (
    GateDecision,
    TrainReport,
)
from tests.support.api import ADMIN, PREDICT, bearer, create_app, deploy_a_model
from tests.support.registry_writer import save
from tests.support.suggestions import add, an_arm
from web.models.canary import forced_arm
from worker import tasks
from worker.training import job as training_job

NO_SUCH = "20200101T000000Z-00000000"


@pytest.fixture
def live(services):
    """A version that is live; it need not be one that predicts."""
    return services.registry.deploy(save(services.registry, 1).run_id, by="test", why="").run_id


@pytest.fixture
def other(services, live):
    """A version beside the live one."""
    return save(services.registry, 2).run_id


def start_trial(client, run_id, share=0.2):
    return client.post("/ml/v2/trial", json={"run_id": run_id, "share": share})


def test_canary_share_comes_from_the_environment_until_it_is_changed(client):
    found = client.get("/ml/v2/canary").json

    assert (found["canary"], found["challenger"], found["change"], found["at"]) == (
        0,
        None,
        0,
        None,
    )
    assert found["history"] == []
    assert found["verdicts"] == []
    assert set(found["arms"]) == {"rules", "model", "challenger"}
    assert found["arms"]["model"]["acceptance"] is None


@pytest.mark.parametrize(
    ("share", "canary"),
    [(0, 0), (1, 1), ("1", 1), ("0", 0), ("10%", 0.1), (0.25, 0.25), ("1%", 0.01), ("0.5%", 0.005)],
)
def test_the_canary_is_changed_without_a_restart_and_recorded(client, share, canary):
    answer = client.put("/ml/v2/canary", json={"share": share, "why": "try it"})

    assert answer.status_code == 200
    found = client.get("/ml/v2/canary").json
    assert found["canary"] == pytest.approx(canary)
    assert (found["by"], found["why"], found["action"]) == ("api (no auth)", "try it", "canary")
    assert [it["canary"] for it in found["history"]] == [found["canary"]]


@pytest.mark.parametrize(
    "body",
    [
        {"share": 10},
        {"share": "0.1"},
        {"share": "101%"},
        {"share": -0.1},
        {"share": True},
        {"share": None},
        {},
        {"share": 0, "reason": "x"},
    ],
)
def test_ambiguous_share_is_refused(client, body):
    answer = client.put("/ml/v2/canary", json=body)

    assert answer.status_code == 400
    assert answer.json["errors"]


def test_only_an_admin_changes_the_traffic_split(token_client):
    """A predict token reads."""
    reader = bearer(PREDICT)
    assert token_client.get("/ml/v2/canary", headers=reader).status_code == 200
    assert token_client.get("/ml/v2/suggestions/disagreements", headers=reader).status_code == 200
    for method, path in (
        ("PUT", "canary"),
        ("POST", "trial"),
        ("POST", "trial/promote"),
        ("POST", "trial/drop"),
    ):
        answer = token_client.open(
            f"/ml/v2/{path}", method=method, headers=reader, json={"share": 0}
        )
        assert answer.status_code == 403

    answer = token_client.put("/ml/v2/canary", headers=bearer(ADMIN), json={"share": 1})
    assert answer.json["by"] == "api (admin)"


def test_change_based_on_an_older_traffic_split_is_a_conflict(client):
    seen = client.put("/ml/v2/canary", json={"share": 0.1}).json["change"]
    client.put("/ml/v2/canary", json={"share": 0.2})

    answer = client.put("/ml/v2/canary", json={"share": 0.3, "expected_change": seen})

    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_canary_shows_the_statistics_of_each_arm_and_the_verdict(client, engine):
    client.put("/ml/v2/canary", json={"share": 0.5})
    an_arm(engine, Arm.MODEL, accepted=9, corrected=1, asked=10)
    an_arm(engine, Arm.RULES, accepted=5, corrected=3, rejected=2)

    found = client.get("/ml/v2/canary").json

    model = found["arms"]["model"]
    assert model["coverage"] == pytest.approx(0.5, abs=0.01)
    assert model["acceptance"]["low"] < model["acceptance"]["value"] < model["acceptance"]["high"]
    assert model["acceptance"]["value"] == pytest.approx(0.9, abs=0.01)
    rules = found["arms"]["rules"]
    assert rules["correction_rate"] == pytest.approx(0.3, abs=0.02)
    assert rules["rejection_rate"] == pytest.approx(0.2, abs=0.02)
    assert rules["gain"]["value"] == pytest.approx(0.0, abs=0.02)
    (verdict,) = found["verdicts"]
    assert (verdict["arm"], verdict["against"], verdict["verdict"]) == ("model", "rules", "better")
    apart = verdict["acceptance"]
    assert 0 < apart["sure_low"] < apart["low"] < apart["value"] < apart["high"] < 1


def test_trial_can_be_started_extended_and_dropped(client, other):
    first = start_trial(client, other, "10%")
    grown = start_trial(client, other, 0.3)
    dropped = client.post("/ml/v2/trial/drop", json={"why": "no"})
    again = client.post("/ml/v2/trial/drop")

    assert (first.status_code, first.json["challenger"], first.json["trial"]) == (200, other, 0.1)
    assert grown.json["trial"] == 0.3
    assert (dropped.json["challenger"], dropped.json["trial"]) == (None, 0)
    assert dropped.json["why"].startswith(f"no ({other}: not enough data")
    assert again.json == dropped.json


def test_promoted_version_is_live_and_its_trial_ends(client, services, other):
    """With the evidence in the record of the deploy; asking again changes nothing."""
    start_trial(client, other)

    first = client.post("/ml/v2/trial/promote", json={"why": "it is better"})
    again = client.post("/ml/v2/trial/promote")

    live = services.registry.current()
    assert live.run_id == other
    assert live.why.startswith("it is better (")
    assert first.json["challenger"] is None
    assert again.json == first.json
    assert len(services.registry.history()) == 2


def test_interrupted_promotion_is_completed_by_the_next(client, services, other):
    """The version was live already, and the trial still on."""
    start_trial(client, other)
    services.registry.deploy(other, by="api", why="")

    answer = client.post("/ml/v2/trial/promote")

    assert (answer.status_code, answer.json["challenger"]) == (200, None)
    assert len(services.registry.history()) == 2


def test_trial_of_an_unusable_version_is_refused_with_the_reason(client, services, live, other):
    damaged, locked, third = (save(services.registry, number).run_id for number in (3, 4, 5))
    file = services.settings.registry_dir / "versions" / damaged / "model.json"
    file.chmod(0o644)
    file.write_bytes(b"nothing")
    services.registry.quarantine(locked, "a person said so")
    responses = {
        run_id: start_trial(client, run_id)
        for run_id in (NO_SUCH, "nonsense", live, damaged, locked)
    }
    start_trial(client, other)
    responses[third] = start_trial(client, third)

    codes = {run_id: (it.status_code, it.json["code"]) for run_id, it in responses.items()}
    assert codes == {
        NO_SUCH: (404, "not_found"),
        "nonsense": (404, "not_found"),
        live: (409, "conflict"),
        damaged: (409, "damaged_version"),
        locked: (409, "damaged_version"),
        third: (409, "conflict"),
    }
    assert "a person said so" in responses[locked].json["detail"]
    assert responses[third].json["challenger"] == other


@pytest.mark.parametrize("action", ["promote", "drop"])
def test_dropping_or_promoting_without_a_trial_is_refused(client, action):
    answer = client.post(f"/ml/v2/trial/{action}")

    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_canary_reports_a_challenger_that_was_damaged_during_its_trial(client, services, other):
    start_trial(client, other)
    services.registry.quarantine(other, "cannot be read")

    assert client.get("/ml/v2/canary").json["trial_problem"] == "cannot be read"
    assert client.post("/ml/v2/trial/promote").json["code"] == "damaged_version"
    assert client.get("/ml/v2/canary").json["challenger"] == other


def test_disagreements_are_listed_by_pair_of_labels(client, engine):
    add(
        engine,
        {
            "user_id": "",
            "rules_label": "Fuel",
            "model_label": "Coffee",
            "answer": Action.ACCEPT,
            "answer_label": "Coffee",
        },
        {"user_id": "", "rules_label": "Fuel", "model_label": "Coffee"},
    )

    found = client.get("/ml/v2/suggestions/disagreements?days=3").json

    assert found == {
        "days": 3,
        "count": 2,
        "pairs": [
            {
                "rules_label": "Fuel",
                "model_label": "Coffee",
                "count": 2,
                "answered": 1,
                "rules_right": 0,
                "model_right": 1,
                "neither": 0,
            }
        ],
    }
    assert client.get("/ml/v2/suggestions/disagreements?days=0").status_code == 400


@pytest.mark.parametrize(
    ("headers", "arm"),
    [({}, None), ({"X-Suggest-Arm": "model"}, Arm.MODEL), ({"X-Suggest-Arm": " Rules"}, Arm.RULES)],
)
def test_header_forces_the_arm_of_a_request(services, headers, arm):
    with create_app(services).test_request_context(headers=headers):
        assert forced_arm() is arm


def test_header_with_an_unknown_arm_is_refused(services):
    with (
        create_app(services).test_request_context(headers={"X-Suggest-Arm": "canary"}),
        pytest.raises(InvalidInput, match="X-Suggest-Arm") as raised,
    ):
        forced_arm()

    assert "rules, model, challenger" in raised.value.errors[0].message


def test_pruning_after_training_keeps_the_version_on_trial(client, services, other, monkeypatch):
    """However many newer ones there are."""
    start_trial(client, other)
    for number in range(3, 16):
        newest = save(services.registry, number).run_id
    claim = type("Claim", (), {"params": {}, "requested_by": "test"})()
    report = TrainReport(
        run_id=newest,
        val_f1_macro=0.9,
        val_accuracy=0.9,
        class_count=1,
        train_size=80,
        calibrate_size=40,
        val_size=20,
        baselines={},
        ceiling={},
        coverage_at_95=None,
        gate=GateDecision(True, "made up"),
        warnings=[],
        live_sequence=services.registry.current().sequence,
    )

    training_job._publish(services, claim, report)

    left = [version.run_id for version in services.registry.versions()]
    assert other in left
    assert len(left) == services.settings.registry_keep + 3  # live, the one before, on trial


def test_guardrail_runs_as_a_celery_task(client, services, engine, monkeypatch):
    """Once a minute, and a tick that comes late is let go."""
    monkeypatch.setattr(tasks, "get_services", lambda: services)
    client.put("/ml/v2/canary", json={"share": 0.5})
    an_arm(engine, Arm.MODEL, accepted=2, corrected=8)
    an_arm(engine, Arm.RULES, accepted=9, corrected=1)

    tasks.guard_rollout()
    tasks.guard_rollout()

    found = client.get("/ml/v2/canary").json
    assert (found["canary"], found["action"], found["by"]) == (0, "guardrail", "guardrail")
    assert len(found["history"]) == 2
    schedule = tasks.broker.celery.conf.beat_schedule["guard"]
    assert (schedule["task"], schedule["schedule"]) == (tasks.guard_rollout.name, 60.0)
    assert schedule["options"]["expires"] < 60


def test_challenger_is_loaded_by_the_web_process(services, engine, client):
    """A real model, as the suggestions will ask for it."""
    first = deploy_a_model(engine, services.registry)
    second = deploy_a_model(engine, services.registry, rename="My ")
    services.registry.deploy(first, by="test", why="")
    assert start_trial(client, second).status_code == 200
    with transaction(engine) as session:
        state: TrafficSplit = traffic_split.current(session, services.settings)

    assert services.challenger.model(state.challenger) is None
    services.challenger.stop()

    served = services.challenger.model(state.challenger)
    assert served.deployment.run_id == second
    assert all(label.startswith("My ") for label in served.model.labels)


def test_monitored_canary_share_is_the_environments_until_it_is_changed(engine, services):
    families = {
        it.name: it for it in DatabaseCollector(engine, services.registry, canary=0.3).collect()
    }

    assert [it.value for it in families["lm_suggest_canary_share"].samples] == [0.3]

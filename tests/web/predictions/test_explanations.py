"""Explanations of predictions over HTTP, and as the command prints them."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import text

from local.client import format_explanation
from shared.model.candidates import PAIR_FEATURES
from shared.model.classifier import Model
from tests.support.api import deploy_a_model
from tests.support.factories import add_transactions
from tests.worker.evaluation.test_feature_importance import rows_and_labels
from worker.training import fit

SHOP = {"merchant": "BEAN HOUSE #7", "description": "TIM AT THE BEAN HOUSE", "amount": -4.5}


@pytest.fixture(scope="module")
def model() -> Model:
    return fit.fit(*rows_and_labels(600))


@pytest.fixture
def live(services, model):
    """The run_id of the model, which is live and has a forest."""
    version = services.registry.save(model.to_files(), {})
    services.registry.deploy(version.run_id, by="test", why="a test")
    return version.run_id


def test_explanation_without_a_model_is_unavailable(client):
    body = client.post("/ml/v2/predict/explain", json=SHOP).json

    assert body == {"available": False}
    assert "make ml-train" in format_explanation(body)[0]


def test_explanation_has_the_label_and_confidence_of_predict(client, live):
    predicted = client.post("/ml/v2/predict", json=SHOP).json

    body = client.post("/ml/v2/predict/explain", json=SHOP).json

    for name in ("available", "label", "confidence", "model"):
        assert body[name] == predicted[name]
    assert body["model"]["run_id"] == live
    assert body["merchant"] == "bean house"
    assert body["candidates"][0]["label"] == body["label"]
    for candidate in body["candidates"]:
        features = math.fsum(move["contribution"] for move in candidate["features"])
        words = math.fsum(move["contribution"] for move in candidate["words"])
        assert features + candidate["rest"] + candidate["bias"] == pytest.approx(
            candidate["log_odds"], abs=1e-6
        )
        assert words + candidate["other"] == pytest.approx(candidate["linear"], abs=1e-4)
        assert {move["name"] for move in candidate["features"]} <= set(PAIR_FEATURES)


def test_a_stored_transaction_is_explained_by_its_id(client, live, engine):
    add_transactions(engine, 1)
    with engine.connect() as connection:
        txn_id = connection.execute(text("SELECT min(id) FROM transactions")).scalar_one()

    body = client.post("/ml/v2/predict/explain", json={"txn_id": txn_id}).json

    assert body["label"] == client.post("/ml/v2/predict", json={"txn_id": txn_id}).json["label"]
    assert client.post("/ml/v2/predict/explain", json={"txn_id": 10**9}).status_code == 404


def test_explanation_without_a_reranker_has_null_log_odds(client, services, engine):
    deploy_a_model(engine, services.registry)

    body = client.post("/ml/v2/predict/explain", json=SHOP).json

    assert body["label"] == "Coffee"
    assert all(candidate["log_odds"] is None for candidate in body["candidates"])
    assert body["candidates"][0]["words"]
    assert "log-odds -" in "\n".join(format_explanation(body))


def test_an_unknown_field_is_400_and_named(client):
    response = client.post("/ml/v2/predict/explain", json={"merchan": "X"})

    assert response.status_code == 400
    assert response.json["code"] == "invalid_input"
    assert [error["field"] for error in response.json["errors"]] == ["merchan"]


def test_command_prints_each_candidate_with_its_contributions(client, live):
    body = client.post("/ml/v2/predict/explain", json=SHOP).json

    lines = format_explanation(body)

    shown = "\n".join(lines)
    assert lines[0].startswith("Coffee  confidence 0.")
    for rank, candidate in enumerate(body["candidates"], start=1):
        assert f"\n{rank}  {candidate['label']} " in shown
        assert all(move["name"] in shown for move in candidate["features"])
        assert all(f'"{move["text"]}"' in shown for move in candidate["words"])
    assert max(map(len, lines)) <= 100

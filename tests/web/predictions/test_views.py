"""Predictions over HTTP."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import text

from shared.services import build as build_services
from tests.support.api import create_app, deploy_a_model

SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}


def test_prediction_without_a_model_is_unavailable(client):
    """Not an error: callers see it every day of the first week."""
    assert client.post("/ml/v2/predict", json=SHOP).json == {"available": False}
    assert client.get("/ml/v2/model/status").json == {"available": False, "meta": {}}


def test_prediction_has_label_confidence_alternatives_and_version(client, live):
    """All that a caller needs to show it, or not."""
    body = client.post("/ml/v2/predict", json=SHOP).json

    assert body["available"]
    assert body["label"] == "Coffee"
    assert 0 < body["confidence"] <= 1
    assert len(body["alternatives"]) == 3
    assert body["model"]["run_id"] == live


@pytest.mark.parametrize(
    "body",
    [{"merchant": "TEST", "abs_amount": 10}, {}, {"amount": 3}, {"date": "2026-02-28"}],
    ids=["of the quick test", "empty", "amount only", "date only"],
)
def test_every_raw_field_may_be_missing(client, live, body):
    """A complete request is whatever the caller knows."""
    response = client.post("/ml/v2/predict", json=body)

    assert response.status_code == 200
    assert response.json["available"]


def test_stored_transaction_is_predicted_like_its_raw_fields(client, live, engine):
    """By txn_id, or by the same fields: one answer."""
    with engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM transactions ORDER BY id LIMIT 1")).one()
    raw = {
        "merchant": row.merchant,
        "amount": float(row.amount),
        "currency": row.currency,
        "date": row.date.isoformat(),
    }

    by_id = client.post("/ml/v2/predict", json={"txn_id": row.id}).json
    by_fields = client.post("/ml/v2/predict", json=raw).json

    assert by_id == by_fields


def test_batch_answers_in_order_with_an_error_for_a_bad_row(client, live):
    """And each good row is answered as if it had come alone."""
    rows = [SHOP, {"merchant": 5}, {"txn_id": 10**9}, {"merchant": "CITY PETROL"}]

    results = client.post("/ml/v2/predict/batch", json={"rows": rows}).json["results"]

    assert results[0] == client.post("/ml/v2/predict", json=rows[0]).json
    assert results[3] == client.post("/ml/v2/predict", json=rows[3]).json
    assert results[1]["error"]["errors"][0]["field"] == "merchant"
    assert results[2]["error"]["code"] == "not_found"


def test_raw_fields_are_predicted_without_postgres_and_redis(settings, engine, clean):
    """Only the look-up of a stored transaction fails, with 503 and when to come back."""
    nowhere = dataclasses.replace(
        settings,
        database_url="postgresql+psycopg2://x:y@127.0.0.1:1/z",
        redis_url="redis://127.0.0.1:1/0",
    )
    services = build_services(nowhere)
    deploy_a_model(engine, services.registry)
    client = create_app(services).test_client()

    raw = client.post("/ml/v2/predict", json=SHOP)
    stored = client.post("/ml/v2/predict", json={"txn_id": 1})
    ready = client.get("/readyz")
    services.close()

    assert raw.json["label"] == "Coffee"
    assert stored.status_code == 503
    assert int(stored.headers["Retry-After"]) > 0
    assert stored.json["dependency"] == "postgres"
    assert ready.json["status"] == "degraded"
    assert {name for name, check in ready.json["checks"].items() if not check["ok"]} == {
        "postgres",
        "redis",
    }

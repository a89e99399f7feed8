"""Metrics over HTTP."""

from __future__ import annotations

SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}


def test_metrics_count_predictions_and_open_jobs(client, live, engine):
    """Names and labels as documented; jobs come from the database."""
    client.post("/ml/v2/predict", json=SHOP)
    client.post("/ml/v2/train")

    body = client.get("/metrics").get_data(as_text=True)

    assert 'lm_ml_predict_requests_total{available="true"}' in body
    assert "lm_ml_predict_latency_seconds_bucket" in body
    assert 'lm_ml_train_runs_total{status="failed"} 0.0' in body
    assert 'lm_jobs_open{kind="train",state="queued"} 1.0' in body

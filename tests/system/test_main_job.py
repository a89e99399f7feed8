"""The main job, through real processes: rows in, features, training, a live prediction."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.registry.store import Registry
from tests.support.factories import add_transactions
from tests.system.stack import ROOT

pytestmark = pytest.mark.system


def live(stack):
    """The deploy that is live."""
    return Registry(Path(stack.env["ML_REGISTRY_DIR"])).current()


def test_imported_rows_become_a_live_prediction_by_api_calls_only(stack, database):
    """Before the first model the answer is `available: false`; no restart is needed."""
    add_transactions(database, 600, labelled=500)
    stack.worker("features")
    stack.worker("training")
    stack.web()
    shop = {"merchant": "BEAN HOUSE #7", "amount": -4.5}
    before = stack.call("POST", "/ml/v2/predict", shop)
    status_before = stack.call("GET", "/ml/v2/model/status")

    features = stack.call("POST", "/ml/v2/features", {"all": True})
    built = stack.ended(features.body["job_id"])
    again = stack.ended(stack.call("POST", "/ml/v2/features", {"all": True}).body["job_id"])
    training = stack.call("POST", "/ml/v2/train")
    trained = stack.ended(training.body["job_id"])
    followed_s = stack.wait_until_followed(live(stack))
    answers = [stack.call("POST", "/ml/v2/predict", shop).body for _ in range(20)]
    after = stack.call("POST", "/ml/v2/predict", shop)

    assert before.body == {"available": False}
    assert status_before.body == {"available": False, "meta": {}}
    assert features.status == training.status == 202
    assert training.headers["Location"] == f"/ml/v2/jobs/{training.body['job_id']}"
    assert built["state"] == "succeeded"
    assert (built["result"]["built"], again["result"]["built"]) == (600, 0)
    assert trained["state"] == "succeeded", trained
    result = trained["result"]
    assert result["deployed"], result["deploy_reason"]
    assert result["val_f1_macro"] > 0.72
    assert result["train_size"] + result["val_size"] == 500
    assert set(result["baselines"]) >= {"most_frequent", "merchant_lookup"}
    assert after.body["label"] == "Coffee"
    assert after.body["model"]["run_id"] == result["run_id"]
    assert all(answer["available"] for answer in answers)
    assert followed_s < 2


def test_fifty_rows_of_one_label_train_a_model_that_predicts_it(stack, database):
    """One category only trains, deploys and predicts, with a warning in the result."""
    add_transactions(database, 60)
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO transaction_labels (txn_id, label, source) "
                "SELECT id, 'Test Category', 'human' FROM transactions "
                "WHERE deleted_at IS NULL LIMIT 50"
            )
        )
    stack.worker("training")
    stack.web()

    trained = stack.ended(stack.call("POST", "/ml/v2/train").body["job_id"])
    followed_s = stack.wait_until_followed(live(stack))
    answer = stack.call("POST", "/ml/v2/predict", {"merchant": "TEST", "abs_amount": 10}).body

    assert trained["state"] == "succeeded", trained
    assert trained["result"]["deployed"]
    assert "one category" in trained["result"]["warnings"][0]
    assert answer["label"] == "Test Category"
    assert followed_s < 2


def test_training_without_enough_labels_is_refused_without_a_job(stack, database):
    """400, with the number found and the number needed."""
    add_transactions(database, 30, labelled=3)
    stack.web()

    refused = stack.call("POST", "/ml/v2/train")

    assert refused.status == 400
    assert refused.body["code"] == "not_enough_labels"
    assert (refused.body["found"], refused.body["needed"]) == (3, 20)
    assert stack.call("GET", "/ml/v2/jobs").body["jobs"] == []


def test_a_large_backlog_is_built_by_several_workers(stack, database):
    """Ranges go to any free worker, and the job ends with the last of them."""
    add_transactions(database, 60_000)
    stack.worker("features", "features-a")
    stack.worker("features", "features-b")
    stack.web()

    job = stack.ended(stack.call("POST", "/ml/v2/features", {"all": True}).body["job_id"])

    assert job["state"] == "succeeded", job
    assert job["result"]["built"] == 60_000
    assert job["progress"]["percent"] == 100
    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM ml_features")) == 60_000
        workers = connection.scalar(
            text("SELECT count(*) FROM jobs WHERE kind = 'features_range' AND state = 'succeeded'")
        )
    assert workers >= 2


def test_a_compressed_file_is_imported_from_the_shell(stack, database, tmp_path):
    """The same import as anywhere else, with its counts on the terminal."""
    path = tmp_path / "bank.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("date,amount,merchant\n2026-01-02,4.50,BEAN HOUSE\n2026-01-03,9,FILL AND GO\n")

    done = subprocess.run(
        [sys.executable, "-m", "worker.ingest", str(path)],
        env=stack.env,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    with database.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transactions")) == 2

"""The API as a caller sees it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from sqlalchemy import text

from shared.db.tables import JobKind
from shared.services import build as build_services
from tests.support.api import create_app, deploy_a_model
from tests.support.factories import add_transactions
from tests.support.registry_damage import truncate

SHOP = {"merchant": "BEAN HOUSE #7", "amount": -4.5}


@pytest.fixture
def live(services, engine):
    """The run_id of a model that is live."""
    return deploy_a_model(engine, services.registry)


def test_without_a_model_the_answer_says_just_that(client):
    """Not an error: callers see it every day of the first week."""
    assert client.post("/ml/v2/predict", json=SHOP).json == {"available": False}
    assert client.get("/ml/v2/model/status").json == {"available": False, "meta": {}}


def test_a_prediction_names_label_confidence_alternatives_and_version(client, live):
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


def test_a_stored_transaction_is_predicted_like_its_own_fields(client, live, engine):
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


def test_a_batch_answers_in_order_with_an_error_in_the_place_of_a_bad_row(client, live):
    """And each good row is answered as if it had come alone."""
    rows = [SHOP, {"merchant": 5}, {"txn_id": 10**9}, {"merchant": "CITY PETROL"}]

    results = client.post("/ml/v2/predict/batch", json={"rows": rows}).json["results"]

    assert results[0] == client.post("/ml/v2/predict", json=rows[0]).json
    assert results[3] == client.post("/ml/v2/predict", json=rows[3]).json
    assert results[1]["error"]["errors"][0]["field"] == "merchant"
    assert results[2]["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"merchan": "X"}, "merchan"),
        ({"amount": "12"}, "amount"),
        ({"amount": True}, "amount"),
        ({"amount": 1e300}, "amount"),
        ({"date": "23/11/2026"}, "date"),
        ({"dow": 7}, "dow"),
        ({"merchant": "a\x00b"}, "merchant"),
        ({"merchant": "x" * 1001}, "merchant"),
        ({"txn_id": 1, "merchant": "X"}, "merchant"),
        ({"is_weekend": "yes"}, "is_weekend"),
    ],
)
def test_bad_input_is_400_and_names_the_field(client, body, field):
    """And says what was expected, without repeating what was sent."""
    response = client.post("/ml/v2/predict", json=body)

    assert response.status_code == 400
    assert response.mimetype == "application/problem+json"
    assert response.json["code"] == "invalid_input"
    assert [error["field"] for error in response.json["errors"]] == [field]


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"amount": NaN}', "application/json", 400),
        (b'{"amount": 1e999}', "application/json", 400),
        (b'{"merchant": "\\ud800"}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"", "application/json", 400),
        (b"merchant=X", "application/x-www-form-urlencoded", 415),
        (b"{}", None, 415),
        (b" " * (4 * 1024 * 1024 + 1), "application/json", 413),
    ],
    ids=["cut", "nan", "huge", "surrogate", "not utf-8", "deep", "empty", "form", "no type", "big"],
)
def test_a_body_that_is_no_json_is_refused(client, data, content_type, status):
    """With the status that says what is wrong, never a 500."""
    response = client.post("/ml/v2/predict", data=data, content_type=content_type)

    assert response.status_code == status
    assert response.mimetype == "application/problem+json"


def test_more_than_a_thousand_rows_are_too_many(client):
    """413, as for a body that is too large."""
    response = client.post("/ml/v2/predict/batch", json={"rows": [{}] * 1001})

    assert response.status_code == 413


def test_predictions_go_on_without_postgres_and_redis(settings, engine, clean):
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


def test_transactions_are_stored_once_and_updated_when_they_change(client, engine):
    """By external_id; what says nothing new changes nothing."""
    item = {"external_id": "a1", "date": "2026-01-02", "amount": -4.5, "merchant": "BEAN HOUSE"}
    other = {"external_id": "a2", "date": "2026-01-03", "amount": 10, "user_id": "u1"}

    first = client.post("/ml/v2/transactions", json={"transactions": [item, other]}).json
    again = client.post("/ml/v2/transactions", json={"transactions": [item, other]}).json
    changed = client.post(
        "/ml/v2/transactions", json={"transactions": [{**item, "amount": -5}, other]}
    ).json

    assert (first["inserted"], first["updated"], first["unchanged"]) == (2, 0, 0)
    assert (again["inserted"], again["updated"], again["unchanged"]) == (0, 0, 2)
    assert (changed["inserted"], changed["updated"], changed["unchanged"]) == (0, 1, 1)


def test_a_deleted_transaction_is_gone_for_look_ups_and_labels(client, engine):
    """Softly: its row stays, and nothing uses it."""
    item = {"external_id": "a1", "date": "2026-01-02", "amount": -4.5}
    client.post("/ml/v2/transactions", json={"transactions": [item]})

    gone = client.post("/ml/v2/transactions", json={"transactions": [{**item, "deleted": True}]})
    label = client.post("/ml/v2/labels", json={"labels": [{"external_id": "a1", "label": "X"}]})

    assert gone.json["updated"] == 1
    assert label.json["errors"][0]["code"] == "not_found"
    assert client.post("/ml/v2/predict", json={"txn_id": 1}).status_code == 404


def test_bad_items_are_told_and_the_others_are_stored(client):
    """By index and field."""
    items = [
        {"external_id": "a1", "date": "2026-01-02", "amount": -4.5},
        {"external_id": "a1", "date": "2026-01-03", "amount": 1},
        {"external_id": "a2", "date": "someday", "amount": 1},
        {"external_id": "a3", "amount": 1, "date": "2026-01-02", "colour": "red"},
        "nothing",
    ]

    body = client.post("/ml/v2/transactions", json={"transactions": items}).json

    assert body["inserted"] == 1
    assert [(error["index"], error["errors"][0]["field"]) for error in body["errors"]] == [
        (1, "external_id"),
        (2, "date"),
        (3, "colour"),
        (4, "(body)"),
    ]


def test_a_transaction_of_another_user_cannot_be_overwritten(client, engine):
    """One user's id is nobody else's."""
    item = {"external_id": "a1", "date": "2026-01-02", "amount": -4.5, "user_id": "anna"}
    client.post("/ml/v2/transactions", json={"transactions": [item]})

    taken = client.post(
        "/ml/v2/transactions", json={"transactions": [{**item, "user_id": "bert", "amount": 1}]}
    ).json

    assert taken["errors"][0]["code"] == "conflict"
    with engine.connect() as connection:
        assert connection.execute(text("SELECT user_id, amount FROM transactions")).one() == (
            "anna",
            pytest.approx(-4.5),
        )


def test_labels_are_set_by_either_id_and_a_persons_label_stays(client, engine):
    """An import or a rule never replaces what a person said."""
    (txn_id, _) = add_transactions(engine, 2)

    def labelled(*labels):
        body = client.post("/ml/v2/labels", json={"labels": list(labels)}).json
        return body["inserted"], body["updated"], body["unchanged"], len(body["errors"])

    assert labelled({"external_id": "made-up-1-0", "label": "Food", "source": "import"}) == (
        (1, 0, 0, 0)
    )
    assert labelled({"txn_id": txn_id, "label": "Coffee"}) == (0, 1, 0, 0)
    assert labelled({"txn_id": txn_id, "label": "Fuel", "source": "rule"}) == (0, 0, 1, 0)
    assert labelled({"txn_id": txn_id, "label": "Rent"}) == (0, 1, 0, 0)
    assert labelled({"label": "Rent"}, {"txn_id": 10**9, "label": "X"}) == (0, 0, 0, 2)
    assert labelled({"txn_id": txn_id, "external_id": "made-up-1-0", "label": "X"}) == (
        (0, 0, 0, 1)
    )


def test_training_while_one_is_queued_is_409_with_its_id(client, engine):
    """The caller learns which job to follow instead."""
    add_transactions(engine, 30, labelled=30)
    first = client.post("/ml/v2/train")

    second = client.post("/ml/v2/train")

    assert first.status_code == 202
    assert second.status_code == 409
    assert second.json["job_id"] == first.json["job_id"]


def test_an_idempotency_key_gives_the_same_job_again(client, engine):
    """A repeated request asks for nothing new; another request with the key is a conflict."""
    key = {"Idempotency-Key": "k-1"}

    first = client.post("/ml/v2/features", json={"days": 7}, headers=key)
    again = client.post("/ml/v2/features", json={"days": 7}, headers=key)
    other = client.post("/ml/v2/features", json={"days": 8}, headers=key)
    bad = client.post("/ml/v2/features", headers={"Idempotency-Key": "a b"})

    assert first.json["job_id"] == again.json["job_id"]
    assert (again.status_code, other.status_code, bad.status_code) == (202, 409, 400)


def test_a_job_can_be_followed_listed_and_cancelled(client):
    """All from the answer to the request for it."""
    asked = client.post("/ml/v2/features")

    followed = client.get(asked.headers["Location"]).json
    listed = client.get("/ml/v2/jobs?kind=features&state=queued&limit=1").json["jobs"]
    cancelled = client.delete(asked.json["status_url"])

    assert followed["state"] == "queued"
    assert followed["progress"] == {"phase": None, "done": 0, "total": 0, "percent": 0.0}
    assert [job["job_id"] for job in listed] == [asked.json["job_id"]]
    assert (cancelled.status_code, cancelled.json["state"]) == (202, "cancelled")
    assert client.get("/ml/v2/jobs/nobody").status_code == 404
    assert client.get("/ml/v2/jobs?limit=0").status_code == 400


@pytest.mark.parametrize("kind", JobKind)
def test_jobs_can_be_listed_by_each_kind_that_there_is(client, kind):
    """A kind that is added to the service can be asked for at once."""
    assert client.get(f"/ml/v2/jobs?kind={kind}").json == {"jobs": []}


def test_versions_tell_who_deployed_them_when_and_why(client, services, engine):
    """And one version tells all about its evaluation."""
    first = deploy_a_model(engine, services.registry)
    second = deploy_a_model(engine, services.registry, rename="New ")

    rolled_back = client.post("/ml/v2/model/rollback", json={"why": "went wrong"})
    models = client.get("/ml/v2/models").json["models"]
    shown = client.get(f"/ml/v2/models/{first}").json
    deployed = client.post(f"/ml/v2/models/{second}/deploy")

    assert rolled_back.json["run_id"] == first
    live = {model["run_id"]: model["live"] for model in models}  # both were made in one second
    deploys = {model["run_id"]: model["deploys"] for model in models}
    assert live == {first: True, second: False}
    assert [deploy["why"] for deploy in deploys[first]] == ["went wrong", "a test"]
    assert shown["report"] == {"accuracy": 0.9}
    assert deployed.json["run_id"] == second
    assert client.post("/ml/v2/models/20260101T000000Z-00000000/deploy").status_code == 404


def test_a_damaged_version_is_refused_by_name_and_the_live_one_stays(
    client,
    services,
    engine,
):
    """Nothing is parsed that does not match its hash."""
    first = deploy_a_model(engine, services.registry)
    second = deploy_a_model(engine, services.registry, rename="New ")
    client.post("/ml/v2/model/rollback")
    path = services.settings.registry_dir / "versions" / second / "arrays.npz"
    truncate(path, path.stat().st_size - 1)

    refused = client.post(f"/ml/v2/models/{second}/deploy")

    assert refused.status_code == 409
    assert refused.json["code"] == "damaged_version"
    assert second in refused.json["detail"]
    assert client.post("/ml/v2/predict", json=SHOP).json["model"]["run_id"] == first


def test_every_answer_carries_a_request_id_and_takes_the_callers(client):
    """So that a line in the log can be found from either side."""
    own = client.get("/healthz", headers={"X-Request-ID": "abc-1"})
    made = client.get("/nowhere", headers={"X-Request-ID": "no spaces allowed"})

    assert own.headers["X-Request-ID"] == "abc-1"
    assert len(made.headers["X-Request-ID"]) == 16


def test_the_log_has_a_line_a_request_and_nothing_of_a_transaction(
    environment, live, settings, tmp_path
):
    """A planted name and amount are nowhere in it, not even after an error."""
    code = (
        "import os\n"
        f"os.environ['ML_REGISTRY_DIR'] = {str(settings.registry_dir)!r}\n"
        "from web.wsgi import app\n"
        "client = app.test_client()\n"
        "raw = {'merchant': 'ZANZIBAR ONCOLOGY', 'description': 'QUUX', 'amount': -71234.5}\n"
        "assert client.post('/ml/v2/predict', json=raw).json['available']\n"
        "client.post('/ml/v2/predict', json={**raw, 'nonsense': 'ZANZIBAR'})\n"
        "client.post('/ml/v2/transactions', json={'transactions': [raw]})\n"
        "client.get('/ml/v2/jobs/ZANZIBAR')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["route"] for line in lines if line["event"] == "request"] == [
        "/ml/v2/predict",
        "/ml/v2/predict",
        "/ml/v2/transactions",
        "/ml/v2/jobs/<job_id>",
    ]
    for planted in ("ZANZIBAR", "QUUX", "71234"):
        assert planted not in done.stderr


def test_metrics_count_predictions_and_know_the_jobs(client, live, engine):
    """Names and labels as documented; jobs come from the database."""
    client.post("/ml/v2/predict", json=SHOP)
    client.post("/ml/v2/train")

    body = client.get("/metrics").get_data(as_text=True)

    assert 'lm_ml_predict_requests_total{available="true"}' in body
    assert "lm_ml_predict_latency_seconds_bucket" in body
    assert 'lm_ml_train_runs_total{status="failed"} 0.0' in body
    assert 'lm_jobs_open{kind="train",state="queued"} 1.0' in body

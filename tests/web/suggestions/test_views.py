"""POST /ml/v2/suggest and the answers to what it suggested, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text

from shared.db.engine import make_engine
from shared.model.classifier import Model
from shared.services import Services
from shared.suggestions import service as suggestion_service
from tests.support.api import PREDICT, bearer, create_app, deploy_a_model
from tests.support.factories import add_transactions
from worker.features import build as feature_build


@pytest.fixture
def live(services: Services) -> str:
    """A model that knows four trades is live."""
    return deploy_a_model(services.engine, services.registry)


def ask(client: FlaskClient, arm: str | None = None, **body: Any) -> dict[str, Any]:
    headers = {"X-Suggest-Arm": arm} if arm else {}
    answer = client.post("/ml/v2/suggest", json=body, headers=headers)
    assert answer.status_code == 200, answer.json
    return answer.json


def raw(merchant: str, **more: Any) -> dict[str, Any]:
    return {"merchant": merchant, "amount": -5.0, "date": "2026-11-01", **more}


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    statements: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


def test_without_a_model_or_labels_it_asks_with_the_category_of_known_brands_first(client) -> None:
    items = ask(client, transactions=[raw("SHELL OIL 5744"), raw("ZORBLAX")])["items"]

    assert [item["label"] for item in items] == [None, None]
    assert [[it["label"] for it in item["alternatives"]] for item in items] == [["Fuel"], []]
    assert items[0]["reasons"][-1] == "brand: Shell"


def test_only_the_model_arm_gets_labels_of_the_model(client: FlaskClient, live: str) -> None:
    wanted = {"transactions": [raw("DAILY GRIND #7", user_id="ada")]}

    rules, model = (ask(client, arm, **wanted)["items"][0] for arm in ("rules", "model"))

    assert (model["label"], model["source"], model["model_version"]) == ("Coffee", "model", live)
    assert model["reasons"][0].startswith("words: ")
    assert (rules["source"], rules["model_version"]) != ("model", live)
    assert rules["arm"] == "rules"


def test_shadow_stores_the_labels_of_rules_and_model_in_every_arm(
    client: FlaskClient, services: Services, live: str
) -> None:
    ask(client, transactions=[raw("DAILY GRIND #7")])

    with services.engine.connect() as connection:
        kept = connection.execute(
            text("SELECT arm, model_label, model_version, forced FROM suggestions")
        ).one()
    assert tuple(kept) == ("rules", "Coffee", live, False)


def test_failing_shadow_model_affects_no_suggestion(
    client: FlaskClient, live: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Model, "predict_many", broken)

    answer = ask(client, transactions=[raw("SHELL OIL 5744")])

    assert answer["items"][0]["label"] == "Fuel"
    assert "lm_suggest_shadow_errors_total" in client.get("/metrics").text


def test_suggestions_are_equal_with_and_without_shadow(
    services: Services, live: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bars are those of the live version, whether it is listened to or not."""
    services.live_model.start()
    seen = []
    real = suggestion_service.decide
    monkeypatch.setattr(
        suggestion_service,
        "decide",
        lambda evidence, bars: seen.append(bars) or real(evidence, bars),
    )
    for shadow in (True, False):
        settings = replace(services.settings, suggest_shadow=shadow)
        ask(create_app(replace(services, settings=settings)).test_client(), transactions=[raw("X")])

    assert {bars.memory for bars in seen} == {services.live_model.current().model.thresholds.memory}


def test_model_arm_falls_back_to_rules_when_the_model_fails(
    client: FlaskClient, live: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Model, "predict_many", broken)

    item = ask(client, "model", transactions=[raw("SHELL OIL 5744")])["items"][0]

    assert (item["label"], item["arm"]) == ("Fuel", "model")
    assert 'lm_suggest_model_errors_total{arm="model"}' in client.get("/metrics").text


def test_correction_over_http_becomes_the_next_suggestion(
    client: FlaskClient, services: Services
) -> None:
    first, second, *_ = add_transactions(services.engine, 40)
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE transactions SET merchant = 'ZORBLAX'"))
    suggestion = ask(client, txn_ids=[first])["items"][0]["suggestion_id"]

    answered = client.post(
        f"/ml/v2/suggestions/{suggestion}/feedback", json={"action": "correct", "label": "Toys"}
    )

    assert answered.json == {
        "suggestion_id": suggestion,
        "answer": "correct",
        "answer_label": "Toys",
        "label": "Toys",
    }
    assert ask(client, txn_ids=[second])["items"][0]["label"] == "Toys"
    undone = client.post(f"/ml/v2/suggestions/{suggestion}/feedback", json={"action": "undo"})
    assert undone.json["label"] is None
    assert ask(client, txn_ids=[second])["items"][0]["label"] is None


def test_bad_item_gets_an_error_at_its_position(client: FlaskClient) -> None:
    items = ask(client, transactions=[raw("ZORBLAX"), {"amount": "much"}, raw("SHELL")])["items"]

    assert [item.get("error", {}).get("code") for item in items] == [None, "invalid_input", None]
    assert items[1]["error"]["errors"][0]["field"] == "amount"


def test_transaction_of_another_user_is_not_found(client: FlaskClient, services: Services) -> None:
    txn_id = add_transactions(services.engine, 1)[0]

    assert ask(client, txn_ids=[txn_id], user_id="ada")["items"][0]["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"txn_ids": [1], "transactions": [{}]}, "body"),
        ({"txn_ids": []}, "txn_ids"),
        ({"transactions": "all"}, "transactions"),
        ({"transactions": [{}], "user": "ada"}, "user"),
    ],
)
def test_bad_requests_name_the_field(client: FlaskClient, body: dict[str, Any], field: str) -> None:
    answer = client.post("/ml/v2/suggest", json=body)

    assert answer.status_code == 400
    assert answer.json["errors"][0]["field"].startswith(field if field != "body" else "")


def test_more_than_a_thousand_transactions_are_refused(client: FlaskClient) -> None:
    assert client.post("/ml/v2/suggest", json={"txn_ids": [1] * 1001}).status_code == 413


def test_thousand_transactions_need_at_most_one_query_more_than_one(
    client: FlaskClient, services: Services, live: str
) -> None:
    ids = add_transactions(services.engine, 1000, labelled=500, seed=2)
    with services.engine.begin() as connection:  # some are known, some are not
        connection.execute(
            text("UPDATE transactions SET merchant = 'ZORBLAX ' || id % 7 WHERE id % 3 = 0")
        )
    feature_build.build_pending(services.engine, feature_build.Scope())
    ask(client, txn_ids=ids[:2])

    with counted(services.engine) as of_one:
        ask(client, txn_ids=ids[:1])
    with counted(services.engine) as of_many:
        answer = ask(client, txn_ids=ids)

    assert len(answer["items"]) == 1000
    assert len(of_many) <= len(of_one) + 1  # what the text tells, where it is needed


def test_raw_transactions_are_suggested_without_postgres_and_marked_degraded(
    services: Services, live: str
) -> None:
    services.live_model.start()
    settings = replace(services.settings, suggest_canary=1.0)
    away = make_engine(  # a port where nobody listens
        "postgresql+psycopg2://nobody@127.0.0.1:9/none", pool_size=1
    )
    client = create_app(replace(services, engine=away, settings=settings)).test_client()

    answer = ask(client, transactions=[raw("DAILY GRIND #7"), raw("SHELL OIL 5744")])

    assert answer["degraded"] is True
    assert answer["items"][0]["label"] == "Coffee"
    assert [item["suggestion_id"] for item in answer["items"]] == [None, None]
    assert client.post("/ml/v2/suggest", json={"txn_ids": [1]}).status_code == 503


def test_predict_scope_allows_suggestions_and_feedback(token_client: FlaskClient) -> None:
    headers = bearer(PREDICT)

    assert token_client.post("/ml/v2/suggest", json={"transactions": [{}]}).status_code == 401
    suggested = token_client.post("/ml/v2/suggest", json={"transactions": [{}]}, headers=headers)
    assert suggested.status_code == 200
    answered = token_client.post(
        "/ml/v2/suggestions/nosuch/feedback", json={"action": "undo"}, headers=headers
    )
    assert answered.status_code == 404


def test_explained_suggestion_equals_the_suggestion(
    client: FlaskClient, services: Services, live: str
) -> None:
    client.put("/ml/v2/canary", json={"share": 1})
    asked = raw("SHELL OIL 5744", user_id="ada")

    explanation = client.post("/ml/v2/suggest/explain", json=asked).json

    (given,) = ask(client, transactions=[asked])["items"]
    assert {
        name: explanation[name] for name in ("label", "confidence", "layer", "reasons", "arm")
    } == {name: given[name] for name in ("label", "confidence", "layer", "reasons", "arm")}
    assert explanation["features"]["merchant"] == "shell oil"
    layers = [it["layer"] for it in explanation["layers"]]
    assert "model" in layers
    assert layers[-1] == "starter"
    shown = [it for it in explanation["layers"] if it["confidence"] >= it["needed"]]
    assert not shown or shown[0]["label"] == explanation["label"]


def test_explanation_in_the_rules_arm_marks_the_model_as_not_used(
    client: FlaskClient, services: Services, live: str
) -> None:
    explanation = client.post(
        "/ml/v2/suggest/explain", json=raw("SHELL OIL 5744", user_id="ada")
    ).json

    assert explanation["arm"] == "rules"
    assert {it["layer"]: it["heard"] for it in explanation["layers"]} == {
        "starter": True,
        "model": False,
    }


def test_explaining_a_suggestion_stores_nothing(client: FlaskClient, services: Services) -> None:
    client.post("/ml/v2/suggest/explain", json=raw("SHELL OIL 5744"))

    with services.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM suggestions")) == 0
    bad = client.post("/ml/v2/suggest/explain", json={"amount": "much"})
    assert (bad.status_code, bad.json["errors"][0]["field"]) == (400, "amount")

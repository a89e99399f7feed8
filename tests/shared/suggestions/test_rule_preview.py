"""The effect of rules on stored transactions, before they are saved."""

from __future__ import annotations

from flask.testing import FlaskClient
from sqlalchemy import text

from shared.services import Services
from tests.support.api import deploy_a_model
from tests.web.suggestions.test_rules import GYM, add_transactions
from worker.features import build as feature_build


def test_preview_lists_the_changes_and_stores_nothing(
    client: FlaskClient, services: Services
) -> None:
    add_transactions(services, *["KRONTAL"] * 7, "ZORBLAX")
    add_transactions(services, "KRONTAL", label="Health")

    seen = client.post("/ml/v2/rules/preview?user_id=ada", json={"rules": [GYM]}).json

    assert (seen["looked_at"], seen["of"], seen["changed"]) == (9, 9, 8)
    assert seen["changes"] == [{"before": None, "after": "Sports", "transactions": 8}]
    effect = seen["rules"][0]
    assert (effect["matches"], effect["against_labels"], len(effect["samples"])) == (8, 1, 5)
    assert effect["samples"][0]["merchant"] == "KRONTAL"
    assert client.get("/ml/v2/rules?user_id=ada").json["version"] == 0


def test_preview_reads_only_the_newest_transactions_of_its_user(
    client: FlaskClient, services: Services
) -> None:
    add_transactions(services, "KRONTAL", user="bob")
    add_transactions(services, "KRONTAL", "KRONTAL")

    seen = client.post("/ml/v2/rules/preview?user_id=ada&limit=1", json={"rules": [GYM]}).json

    assert (seen["looked_at"], seen["of"], seen["rules"][0]["matches"]) == (1, 2, 1)


def test_preview_counts_a_rule_only_where_it_would_decide(
    client: FlaskClient, services: Services
) -> None:
    add_transactions(services, *["KRONTAL"] * 8, label="Health")
    feature_build.build_pending(services.engine, feature_build.Scope())
    add_transactions(services, *["KRONTAL"] * 3, user="bob")

    seen = client.post("/ml/v2/rules/preview", json={"rules": [GYM]}).json

    assert (seen["changed"], seen["rules"][0]["matches"]) == (3, 3)


def test_preview_uses_the_arm_of_each_user(client: FlaskClient, services: Services) -> None:
    deploy_a_model(services.engine, services.registry)
    client.put("/ml/v2/canary", json={"share": 1})
    with services.engine.connect() as connection:
        known = [*connection.scalars(text("SELECT DISTINCT merchant FROM transactions"))]
    request = {"transactions": [{"merchant": name, "user_id": "zed"} for name in known]}
    items = client.post("/ml/v2/suggest", json=request).json["items"]
    merchant, label = next(
        (name, item["label"])
        for name, item in zip(known, items, strict=True)
        if item["layer"] == "model"
    )
    add_transactions(services, merchant, user="zed")
    rule = {"label": label, "merchant": merchant}

    seen = client.post("/ml/v2/rules/preview?user_id=zed", json={"rules": [rule]}).json

    assert (seen["changed"], seen["rules"][0]["matches"]) == (0, 1)

"""Rules over HTTP: kept in versions, tried before they are saved, heard at once."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, text

from shared.db.tables import LabelSource, Transaction, TransactionLabel
from shared.features.taxonomy import categories
from shared.rules.yaml_format import load, starter_rules
from shared.services import Services

GYM = {"label": "Sports", "merchant": "krontal"}


def put(client: FlaskClient, *rules: dict[str, Any], user: str | None = None, **more: Any) -> Any:
    query = {"user_id": user} if user else {}
    return client.put("/ml/v2/rules", query_string=query, json={"rules": [*rules]}, **more)


def suggest_for(client: FlaskClient, merchant: str, user: str = "ada") -> dict[str, Any]:
    wanted = {"transactions": [{"merchant": merchant, "amount": -5.0, "user_id": user}]}
    item: dict[str, Any] = client.post("/ml/v2/suggest", json=wanted).json["items"][0]
    return item


def add_transactions(
    services: Services, *merchants: str, user: str = "ada", label: str = ""
) -> list[int]:
    """Stored transactions of a user, all labelled by him or none; their ids."""
    rows = [
        {
            "external_id": f"{user}-{merchant}-{place}-{label}",
            "user_id": user,
            "date": f"2026-05-{place + 1:02}",
            "amount": -9,
            "currency": "EUR",
            "merchant": merchant,
        }
        for place, merchant in enumerate(merchants)
    ]
    with services.engine.begin() as connection:
        ids = sorted(connection.scalars(insert(Transaction).returning(Transaction.id), rows))
        if label:
            connection.execute(
                insert(TransactionLabel),
                [{"txn_id": it, "label": label, "source": LabelSource.HUMAN} for it in ids],
            )
    return ids


def labels(services: Services) -> dict[int, tuple[str, str]]:
    with services.engine.connect() as connection:
        rows = connection.execute(text("SELECT txn_id, label, source FROM transaction_labels"))
        return {txn_id: (label, source) for txn_id, label, source in rows}


def test_new_rule_applies_to_the_next_suggestion(client: FlaskClient) -> None:
    assert suggest_for(client, "KRONTAL 44")["source"] == "none"

    put(client, GYM, user="ada")

    item = suggest_for(client, "KRONTAL 44")
    assert (item["label"], item["source"], item["layer"]) == ("Sports", "rule", "own rule")
    assert item["reasons"] == ['your rule "merchant krontal"']
    assert suggest_for(client, "KRONTAL 44", user="bob")["source"] == "none"


def test_own_rules_come_before_shared_rules(client: FlaskClient) -> None:
    put(client, {**GYM, "label": "Health"})
    assert suggest_for(client, "KRONTAL")["layer"] == "shared rule"

    put(client, GYM, user="ada")

    assert suggest_for(client, "KRONTAL")["label"] == "Sports"
    assert suggest_for(client, "KRONTAL", user="bob")["label"] == "Health"


def test_each_change_of_the_rules_is_stored_as_a_version(client: FlaskClient) -> None:
    put(client, GYM)
    put(client)
    put(client)  # the same again

    newest = client.get("/ml/v2/rules").json
    first = client.get("/ml/v2/rules?version=1").json

    assert (newest["version"], newest["rules"]) == (2, [])
    assert first["rules"] == [GYM]
    assert client.get("/ml/v2/rules?version=7").status_code == 404
    assert client.get("/ml/v2/rules?user_id=nobody").json["version"] == 0


def test_a_change_made_from_older_rules_is_refused(client: FlaskClient) -> None:
    tag = client.get("/ml/v2/rules").headers["ETag"]
    assert put(client, GYM, headers={"If-Match": tag}).status_code == 200

    late = put(client, headers={"If-Match": tag})

    assert late.status_code == 409
    assert client.get("/ml/v2/rules").json["rules"] == [GYM]
    for tag in ("x", '""', '"' + "9" * 5_000 + '"'):
        assert put(client, headers={"If-Match": tag}).json["errors"][0]["field"] == "If-Match"


def test_rules_can_be_exported_and_imported_as_yaml(client: FlaskClient) -> None:
    put(client, GYM, {"label": "Été & Fun", "amount": {"min": 3}, "direction": "in"})

    file = client.get("/ml/v2/rules", headers={"Accept": "application/yaml"})
    back = client.put("/ml/v2/rules?user_id=ada", data=file.data, content_type="application/yaml")

    assert file.mimetype == "application/yaml"
    assert "Été & Fun" in file.text
    assert back.json["rules"] == client.get("/ml/v2/rules").json["rules"]


@pytest.mark.parametrize(
    ("file", "field", "message"),
    [
        ("rules: [", "(body)", "is no YAML"),
        ("- a", "(body)", "one key, rules"),
        ("rules: 3", "rules", "a list"),
        ("rules: [{label: A, merchant: x, label: B}]", "(body)", "'label' is there twice"),
        ("rules: [&a {label: A, merchant: x}, *a]", "(body)", "alias"),
        ("rules: [{label: no, merchant: x}]", "rules[0].label", "valid string"),
        ("rules: [{label: A}]", "rules[0]", "at least one of merchant"),
        ("rules: [{label: A, merchant: '/(a/'}]", "rules[0].merchant", "regular expression"),
        ("rules: [{label: A, merchant: '/(a)\\1/'}]", "rules[0].merchant", "regular expression"),
        ("rules: [{label: A, amount: {min: 5, max: 1}}]", "rules[0].amount", "min is above max"),
        ("rules: [{label: A, mechant: x}]", "rules[0].mechant", "not permitted"),
        ('rules: [{label: !!int "", merchant: x}]', "(body)", "is no YAML"),
        ("rules: [{label: !!bool foo, merchant: x}]", "(body)", "is no YAML"),
        ('rules: [{label: !!float "", merchant: x}]', "(body)", "is no YAML"),
        ("rules: [{label: !!timestamp foo, merchant: x}]", "(body)", "is no YAML"),
        ("rules: [{label: " + "1:" * 40_000 + "1, merchant: x}]", "(body)", "longer than"),
        ('rules: [{label: A, account: "a\\0"}]', "rules[0].account", "pattern"),
        ('rules: [{label: A, merchant: "/a\\0/"}]', "rules[0].merchant", "pattern"),
        ("rules: " + "[" * 3000, "(body)", "nested too deeply"),
        ("rules:\n" + "- {label: A, merchant: b}\n" * 9_000, "(body)", "more than 1,000 rules"),
    ],
)
def test_bad_yaml_is_refused_with_the_position_and_what_was_expected(
    client: FlaskClient, file: str, field: str, message: str
) -> None:
    answer = client.put("/ml/v2/rules", data=file, content_type="application/yaml")

    assert answer.status_code == 400
    assert field in [error["field"] for error in answer.json["errors"]]
    assert message in str(answer.json["errors"])
    assert client.get("/ml/v2/rules").json["version"] == 0


def corrected(client: FlaskClient, txn_ids: list[int], *to: str) -> list[str]:
    """Have all suggested at once, then correct one after the other; the suggestions' ids."""
    items = client.post("/ml/v2/suggest", json={"txn_ids": txn_ids}).json["items"]
    ids = [item["suggestion_id"] for item in items]
    for made, label in zip(ids, to, strict=True):
        answer = {"action": "correct", "label": label}
        client.post(f"/ml/v2/suggestions/{made}/feedback", json=answer)
    return ids


def proposed(client: FlaskClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/ml/v2/rules/proposals?user_id=ada").json["proposals"]
    return found


def test_three_equal_corrections_propose_a_rule_without_adding_it(
    client: FlaskClient, services: Services
) -> None:
    *_, last = corrected(
        client, add_transactions(services, *["ZORBLAX 12"] * 3), "Toys", "Toys", "Toys"
    )

    found = proposed(client)

    assert [(it["rule"], it["corrections"]) for it in found] == [
        ({"label": "Toys", "merchant": "zorblax 12"}, 3)
    ]
    assert client.get("/ml/v2/rules?user_id=ada").json["rules"] == []
    client.post(f"/ml/v2/suggestions/{last}/feedback", json={"action": "undo"})
    assert proposed(client) == []


def test_a_payment_service_gets_no_rule_proposed(client: FlaskClient, services: Services) -> None:
    corrected(client, add_transactions(services, *["PayPal"] * 3), "Music", "Music", "Music")

    assert proposed(client) == []


def test_different_corrections_or_those_of_one_transaction_propose_no_rule(
    client: FlaskClient, services: Services
) -> None:
    corrected(
        client, add_transactions(services, *["ZORBLAX 12"] * 4), "Toys", "Toys", "Toys", "Gifts"
    )
    (again,) = add_transactions(services, "QUUX PALACE")
    for _ in range(3):
        corrected(client, [again], "Fun")

    assert proposed(client) == []


def test_corrections_that_were_changed_since_propose_no_rule(
    client: FlaskClient, services: Services
) -> None:
    txn_ids = add_transactions(services, *["ZORBLAX 12"] * 3)
    corrected(client, txn_ids, "Toys", "Toys", "Toys")

    client.post("/ml/v2/labels", json={"labels": [{"txn_id": txn_ids[0], "label": "Books"}]})

    assert proposed(client) == []


def test_existing_rule_for_the_merchant_ends_the_proposal(
    client: FlaskClient, services: Services
) -> None:
    corrected(client, add_transactions(services, *["ZORBLAX 12"] * 3), "Toys", "Toys", "Toys")
    assert len(proposed(client)) == 1

    put(client, {"label": "Toys", "merchant": "Zorblax", "enabled": False}, user="ada")

    assert proposed(client) == []


def test_starter_rules_are_valid_and_use_built_in_categories(
    client: FlaskClient,
) -> None:
    file = client.get("/ml/v2/rules/starter", headers={"Accept": "application/yaml"})

    put_back = client.put("/ml/v2/rules", data=file.data, content_type="application/yaml")

    assert put_back.json["rules"] == client.get("/ml/v2/rules/starter").json["rules"]
    assert {rule.label for rule in load(starter_rules())} <= set(categories())
    wages = {"merchant": "ACME GMBH GEHALT 05/26", "amount": 2900.0}
    machine = {"merchant": "ATM 0442 HIGH ST", "amount": -60.0}
    items = client.post("/ml/v2/suggest", json={"transactions": [wages, machine]}).json["items"]
    assert [item["label"] for item in items] == ["Salary", "Cash"]

"""The review queue: what waits, in which order, and one answer to many suggestions."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, text

from shared.db.tables import LabelSource, Transaction, TransactionLabel
from shared.services import Services
from shared.suggestions import review_queue
from tests.support.suggestions import add


def add_transactions(
    services: Services, *merchants: str, user: str | None = "ada", **more: Any
) -> list[int]:
    """Stored transactions of a user that nobody has labelled; their ids."""
    usual = {"user_id": user, "date": "2026-05-01", "amount": -9, "currency": "EUR", **more}
    with services.engine.begin() as connection:
        rows = [{**usual, "merchant": merchant} for merchant in merchants]
        return sorted(connection.scalars(insert(Transaction).returning(Transaction.id), rows))


def add_suggestion(
    services: Services, txn_id: int, confidence: float, ago: str = "1 h", **more: Any
) -> str:
    """A made-up suggestion for a transaction; its id."""
    whole = {"user_id": "ada", "txn_id": txn_id, "confidence": confidence, **more}
    add(services.engine, whole, ago=ago)
    with services.engine.connect() as connection:
        newest = "SELECT id FROM suggestions WHERE txn_id = :txn ORDER BY created_at DESC LIMIT 1"
        return str(connection.scalar(text(newest), {"txn": txn_id}))


def get_queue(client: FlaskClient, **query: Any) -> dict[str, Any]:
    answer = client.get("/ml/v2/review", query_string=query)
    assert answer.status_code == 200, answer.json
    found: dict[str, Any] = answer.json
    return found


def waiting(client: FlaskClient, **query: Any) -> list[int]:
    return [item["txn_id"] for item in get_queue(client, **query)["items"]]


def answer_suggestions(
    client: FlaskClient, ids: list[str], action: str, **more: Any
) -> list[dict[str, Any]]:
    answer = client.post("/ml/v2/review", json={"suggestion_ids": ids, "action": action, **more})
    assert answer.status_code == 200, answer.json
    items: list[dict[str, Any]] = answer.json["items"]
    return items


def labels(services: Services) -> dict[int, tuple[str, str]]:
    with services.engine.connect() as connection:
        rows = connection.execute(text("SELECT txn_id, label, source FROM transaction_labels"))
        return {txn_id: (label, source) for txn_id, label, source in rows}


def suggest(client: FlaskClient, *txn_ids: int) -> list[dict[str, Any]]:
    """What the service itself suggests."""
    answer = client.post("/ml/v2/suggest", json={"txn_ids": [*txn_ids]})
    items: list[dict[str, Any]] = answer.json["items"]
    return items


def test_least_confident_suggestions_come_first(client: FlaskClient, services: Services) -> None:
    ids = add_transactions(services, "A", "B", "C")
    for txn_id, confidence in zip(ids, (0.9, 0.1, 0.5), strict=True):
        add_suggestion(services, txn_id, confidence, reasons=["why"], alternatives=[])

    found = get_queue(client)

    assert [item["txn_id"] for item in found["items"]] == [ids[1], ids[2], ids[0]]
    assert (found["left"], found["next"]) == (3, None)
    first = found["items"][0]
    assert (first["raw_merchant"], first["label"], first["reasons"]) == ("B", "Coffee", ["why"])
    assert (first["amount"], first["currency"], first["date"]) == (-9.0, "EUR", "2026-05-01")


def test_queue_has_the_newest_suggestion_of_each_open_transaction(
    client: FlaskClient, services: Services
) -> None:
    again, answer, human, imported, rule, deleted, _never = add_transactions(services, *"ABCDEFG")
    add_suggestion(services, again, 0.1, ago="2 h", label="Old")
    for txn_id in (again, answer, human, imported, rule, deleted):
        suggestion = add_suggestion(services, txn_id, 0.5)
        if txn_id == answer:
            answer_suggestions(client, [suggestion], "reject")
    with services.engine.begin() as connection:
        for txn_id, source in zip((human, imported, rule), LabelSource, strict=True):
            connection.execute(
                insert(TransactionLabel).values(txn_id=txn_id, label="Said", source=source)
            )
        connection.execute(
            text("UPDATE transactions SET deleted_at = now() WHERE id = :id"), {"id": deleted}
        )

    found = get_queue(client)

    assert {item["txn_id"] for item in found["items"]} == {again, rule}
    assert {item["label"] for item in found["items"]} == {"Coffee"}
    assert found["left"] == 2


def test_rejected_transaction_returns_with_its_next_suggestion(
    client: FlaskClient, services: Services
) -> None:
    (txn_id,) = add_transactions(services, "A")
    answer_suggestions(client, [add_suggestion(services, txn_id, 0.5)], "reject")
    assert waiting(client) == []

    add_suggestion(services, txn_id, 0.2, ago="0 s", label="Toys")

    assert waiting(client) == [txn_id]


def test_pages_neither_skip_nor_repeat_while_answers_are_given(
    client: FlaskClient, services: Services
) -> None:
    """Nor when what was on an earlier page is suggested anew with more, or less, certainty."""
    ids = add_transactions(services, *(f"SHOP {number}" for number in range(23)))
    for place, txn_id in enumerate(ids):
        add_suggestion(services, txn_id, place // 2 / 20)  # pairs are equally sure

    seen: list[int] = []
    sure: list[float] = []
    after: dict[str, Any] = {}
    while True:
        page = get_queue(client, limit=5, **after)
        seen += [item["txn_id"] for item in page["items"]]
        sure += [item["confidence"] for item in page["items"]]
        answer_suggestions(client, [page["items"][0]["suggestion_id"]], "accept")
        add_suggestion(services, page["items"][1]["txn_id"], 0.99, ago="0 s")
        add_suggestion(services, page["items"][2]["txn_id"], 0.0, ago="0 s")
        if page["next"] is None:
            break
        after = {"after": page["next"]}

    assert sorted(seen) == ids
    assert sure == sorted(sure)
    assert get_queue(client)["left"] == 23 - 5


def test_later_page_shows_suggestions_made_meanwhile(
    client: FlaskClient, services: Services
) -> None:
    first, second = add_transactions(services, "A", "B")
    add_suggestion(services, first, 0.1)
    add_suggestion(services, second, 0.2)
    following = get_queue(client, limit=1)["next"]

    add_suggestion(services, second, 0.9, ago="0 s", label="Toys")

    (item,) = get_queue(client, limit=1, after=following)["items"]
    assert (item["txn_id"], item["label"], item["confidence"]) == (second, "Toys", 0.9)


def test_queue_of_a_user_has_no_rows_of_others(client: FlaskClient, services: Services) -> None:
    (ada,) = add_transactions(services, "A")
    (bob,) = add_transactions(services, "A", user="bob")
    add_suggestion(services, ada, 0.5)
    add_suggestion(services, bob, 0.4, user_id="bob")

    assert waiting(client) == [bob, ada]
    for query in ({"order": "unsure"}, {"order": "merchant"}):
        found = get_queue(client, user_id="ada", **query)
        shown = found["items"] + [it for group in found["groups"] for it in group["samples"]]
        assert [item["txn_id"] for item in shown] == [ada]
        assert found["left"] == 1


def test_groups_share_user_merchant_and_suggestion_and_the_largest_comes_first(
    client: FlaskClient, services: Services
) -> None:
    for txn_id in add_transactions(services, *["SHOP"] * 7):
        add_suggestion(services, txn_id, 0.5, merchant="shop")
    for txn_id in add_transactions(services, *["SHOP"] * 3):
        add_suggestion(services, txn_id, 0.5, merchant="shop", label=None)
    for txn_id in add_transactions(services, "SHOP", "SHOP", user="bob"):
        add_suggestion(services, txn_id, 0.5, merchant="shop", user_id="bob")
    (abroad,) = add_transactions(services, "SHOP", user="bob", currency="USD")
    add_suggestion(services, abroad, 0.5, merchant="shop", user_id="bob")

    groups = get_queue(client, order="merchant")["groups"]

    found = [(it["user_id"], it["label"], it["rows"], it["amount"]) for it in groups]
    assert found[0] == ("ada", "Coffee", 7, -63.0)
    assert {*found[1:]} == {("ada", None, 3, -27.0), ("bob", "Coffee", 3, None)}
    assert {it["merchant"] for it in groups} == {"shop"}
    assert [len(it["samples"]) for it in groups] == [5, 3, 3]


def test_next_page_of_groups_starts_after_the_last_group(
    client: FlaskClient, services: Services
) -> None:
    for number in range(9):
        for txn_id in add_transactions(services, *["SHOP"] * (1 + number // 3)):
            add_suggestion(services, txn_id, 0.5, merchant=f"shop {number}")

    seen = []
    page = get_queue(client, order="merchant", limit=2)
    while True:
        seen += [(group["rows"], group["merchant"]) for group in page["groups"]]
        group = page["groups"][0]
        whose = {name: group[name] for name in ("user_id", "merchant")}
        said = {"action": "accept", "suggested": group["label"]}
        client.post("/ml/v2/review/merchant", json={**whose, **said})
        if page["next"] is None:
            break
        page = get_queue(client, order="merchant", limit=2, after=page["next"])

    assert [rows for rows, _ in seen] == [3] * 3 + [2] * 3 + [1] * 3
    assert len(set(seen)) == 9


def test_a_correction_changes_what_is_suggested_for_the_rest_of_its_merchant(
    client: FlaskClient, services: Services
) -> None:
    first, *rest = add_transactions(services, *["ZORBLAX 12"] * 4)
    stranger = add_transactions(services, "KRONTAL")[0]
    made = suggest(client, first, *rest, stranger)
    assert {item["label"] for item in made} == {None}

    answer_suggestions(client, [made[0]["suggestion_id"]], "correct", label="Toys")
    suggest(client, *rest)

    found = {item["txn_id"]: item for item in get_queue(client)["items"]}
    assert {txn_id: item["label"] for txn_id, item in found.items()} == {
        **dict.fromkeys(rest, "Toys"),
        stranger: None,
    }
    assert found[rest[0]]["reasons"][0].startswith("you chose Toys")


def test_remaining_rows_are_counted_up_to_a_limit(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for txn_id in add_transactions(services, *"ABC"):
        add_suggestion(services, txn_id, 0.5)
    assert get_queue(client, merchant="elsewhere")["left"] == 0

    monkeypatch.setattr(review_queue, "COUNT_MAX", 2)

    assert get_queue(client)["left"] == 2

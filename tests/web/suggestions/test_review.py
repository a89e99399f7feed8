"""Answers to the review queue over HTTP: to many suggestions, and to a whole group."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from shared.services import Services
from tests.shared.suggestions.test_review_queue import (
    add_suggestion,
    add_transactions,
    answer_suggestions,
    get_queue,
    labels,
    suggest,
    waiting,
)
from tests.support.api import PREDICT, bearer


def test_decision_for_a_group_applies_to_all_its_rows_and_is_undone_at_once(
    client: FlaskClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = add_transactions(services, *["ZORBLAX 12"] * 30)
    (other,) = add_transactions(services, "ZORBLAX 12", user="bob")
    suggest(client, *ids, other)
    (mine,) = (it for it in get_queue(client, order="merchant")["groups"] if it["user_id"] == "ada")
    whose = {"user_id": "ada", "merchant": mine["merchant"], "suggested": mine["label"]}
    monkeypatch.setattr("web.suggestions.review.GROUP_MAX", 20)

    answers = [
        client.post(
            "/ml/v2/review/merchant", json={**whose, "action": "correct", "label": "Toys"}
        ).json
        for _ in range(3)
    ]

    assert [(len(it["items"]), it["more"]) for it in answers] == [
        (20, True),
        (10, False),
        (0, False),
    ]
    assert labels(services) == dict.fromkeys(ids, ("Toys", "human"))
    assert waiting(client) == [other]
    done = [item["suggestion_id"] for it in answers for item in it["items"]]
    assert {item["label"] for item in answer_suggestions(client, done, "undo")} == {None}
    assert labels(services) == {}
    assert get_queue(client)["left"] == 31


def test_bad_item_gets_an_error_at_its_position_and_the_others_are_answered(
    client: FlaskClient, services: Services
) -> None:
    first, second = add_transactions(services, "A", "B")
    good, asks = (
        add_suggestion(services, first, 0.5),
        add_suggestion(services, second, 0.5, label=None),
    )

    items = answer_suggestions(client, [asks, good, "0" * 32, good], "accept")

    assert [item.get("error", {}).get("code") for item in items] == [
        "invalid_input",
        None,
        "not_found",
        None,
    ]
    assert items[0]["error"]["errors"][0]["field"] == "action"
    assert items[1] == items[3]
    assert labels(services) == {first: ("Coffee", "human")}


def test_only_open_limits_answers_to_open_transactions(
    client: FlaskClient, services: Services
) -> None:
    first, second, third = add_transactions(services, "A", "B", "C")
    ids = [add_suggestion(services, it, 0.5, label="Food") for it in (first, second, third)]
    answer_suggestions(client, ids[:1], "correct", label="Toys")
    client.post("/ml/v2/labels", json={"labels": [{"txn_id": second, "label": "Rent"}]})

    items = answer_suggestions(client, ids, "accept", only_waiting=True)

    assert [it.get("error", {}).get("code") for it in items] == ["conflict", "conflict", None]
    assert answer_suggestions(client, ids[2:], "accept", only_waiting=True) == items[2:]
    expected = {first: ("Toys", "human"), second: ("Rent", "human"), third: ("Food", "human")}
    assert labels(services) == expected


def test_undo_with_a_repeated_id_goes_back_one_answer(
    client: FlaskClient, services: Services
) -> None:
    (txn_id,) = add_transactions(services, "A")
    suggestion = add_suggestion(services, txn_id, 0.5)
    answer_suggestions(client, [suggestion], "accept")
    answer_suggestions(client, [suggestion], "correct", label="Toys")

    answer_suggestions(client, [suggestion, suggestion], "undo")

    assert labels(services) == {txn_id: ("Coffee", "human")}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"order": "newest"}, "order"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"after": "x"}, "after"),
        ({"user_id": ""}, "user_id"),
        ({"merchant": "\0"}, "merchant"),
        ({"what": "1"}, "what"),
    ],
)
def test_a_bad_query_names_its_field(
    client: FlaskClient, query: dict[str, str], field: str
) -> None:
    answer = client.get("/ml/v2/review", query_string=query)

    assert answer.status_code == 400
    assert [it["field"] for it in answer.json["errors"]] == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "correct"}, "label"),
        ({"action": "accept", "label": "Toys"}, "label"),
        ({"action": "undo", "label": "Toys"}, "label"),
        ({"action": "praise"}, "action"),
        ({"action": "accept", "suggestion_ids": []}, "suggestion_ids"),
        ({"action": "accept", "suggestion_ids": ["x"]}, "suggestion_ids[0]"),
    ],
)
def test_a_bad_answer_names_its_field(
    client: FlaskClient, body: dict[str, Any], field: str
) -> None:
    answer = client.post("/ml/v2/review", json={"suggestion_ids": ["0" * 32], **body})

    assert answer.status_code == 400
    assert [it["field"] for it in answer.json["errors"]] == [field]


def test_answers_need_the_scope_of_feedback(token_client: FlaskClient, services: Services) -> None:
    (txn_id,) = add_transactions(services, "A")
    body = {"action": "accept", "suggestion_ids": [add_suggestion(services, txn_id, 0.5)]}

    assert token_client.get("/ml/v2/review").status_code == 401
    assert token_client.post("/ml/v2/review", json=body).status_code == 401
    assert token_client.post("/ml/v2/review", json=body, headers=bearer(PREDICT)).status_code == 200
    assert token_client.get("/review").headers["Location"] == "/sign-in"

"""Bulk upserts of transactions and labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import text

from tests.support.factories import add_transactions


def together(client, path, *bodies):
    """Post the bodies at the same moment; give the answers."""
    app, start = client.application, Barrier(len(bodies))

    def post(body):
        own = app.test_client()
        start.wait()
        return own.post(path, json=body)

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(post, bodies))


def test_transaction_is_stored_once_and_updated_when_it_changes(client, engine):
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


def test_deleted_transaction_is_not_found_by_predictions_and_labels(client, engine):
    """Softly: its row stays, and nothing uses it."""
    item = {"external_id": "a1", "date": "2026-01-02", "amount": -4.5}
    client.post("/ml/v2/transactions", json={"transactions": [item]})

    gone = client.post("/ml/v2/transactions", json={"transactions": [{**item, "deleted": True}]})
    label = client.post("/ml/v2/labels", json={"labels": [{"external_id": "a1", "label": "X"}]})

    assert gone.json["updated"] == 1
    assert label.json["errors"][0]["code"] == "not_found"
    assert client.post("/ml/v2/predict", json={"txn_id": 1}).status_code == 404


def test_bad_items_get_an_error_and_the_others_are_stored(client):
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


def test_transaction_of_another_user_cannot_be_overwritten(client, engine):
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


def test_label_is_set_by_either_id_and_a_persons_label_stays(client, engine):
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


def test_of_two_users_who_send_the_same_id_at_once_one_gets_it(client, engine):
    """The other is told, item by item; no row has the owner of one and the amount of the other."""

    def brought(user_id, amount):
        item = {"date": "2026-01-02", "amount": amount, "user_id": user_id}
        return {"transactions": [{**item, "external_id": f"t{n}"} for n in range(300)]}

    answers = together(client, "/ml/v2/transactions", brought("anna", 1), brought("bert", 2))

    with engine.connect() as connection:
        rows = connection.execute(text("SELECT user_id, amount::int FROM transactions")).all()
    stored = [answer.json["inserted"] for answer in answers]
    refused = [
        sum(error["code"] == "conflict" for error in answer.json["errors"]) for answer in answers
    ]
    assert len(rows) == 300
    assert {tuple(row) for row in rows} <= {("anna", 1), ("bert", 2)}
    assert sum(stored) == 300
    assert [a + b for a, b in zip(stored, refused, strict=True)] == [300, 300]


@pytest.mark.parametrize("path", ["transactions", "labels"])
def test_requests_with_the_same_items_in_another_order_do_not_deadlock(client, engine, path):
    """Both requests are served, whatever their order."""
    add_transactions(engine, 1000)
    if path == "labels":
        items = [{"external_id": f"made-up-1-{n}", "label": "X"} for n in range(1000)]
    else:
        items = [
            {"external_id": f"made-up-1-{n}", "date": "2026-01-02", "amount": n}
            for n in range(1000)
        ]
    for round_ in range(4):
        changed = "label" if path == "labels" else "merchant"
        forth = [{**item, changed: f"A{round_}"} for item in items]
        back = [{**item, changed: f"B{round_}"} for item in reversed(items)]

        answers = together(client, f"/ml/v2/{path}", {path: forth}, {path: back})

        assert [answer.status_code for answer in answers] == [200, 200]
        assert sum(a.json["inserted"] + a.json["updated"] for a in answers) == 2000


def test_second_label_of_a_transaction_in_one_request_is_refused(client, engine):
    """The first of them is stored."""
    (txn_id,) = add_transactions(engine, 1)
    by_id = [{"txn_id": txn_id, "label": "A"}, {"txn_id": txn_id, "label": "B"}]
    by_both = [*by_id[:1], {"external_id": "made-up-1-0", "label": "B"}]

    first = client.post("/ml/v2/labels", json={"labels": by_id}).json
    second = client.post("/ml/v2/labels", json={"labels": by_both}).json

    assert (first["inserted"], second["unchanged"]) == (1, 1)
    assert [error["errors"][0]["field"] for error in first["errors"]] == ["txn_id"]
    assert [error["errors"][0]["field"] for error in second["errors"]] == ["external_id"]

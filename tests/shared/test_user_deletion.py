"""A user who is deleted leaves nothing behind."""

from __future__ import annotations

from flask.testing import FlaskClient
from sqlalchemy import text

from shared.db.engine import transaction
from shared.db.tables import Base
from shared.services import Services
from shared.suggestions import service as suggestion_service
from shared.suggestions import suggestion_store
from shared.suggestions.service import ServingContext
from tests.web.suggestions.test_rules import add_transactions, labels
from worker.features import build as feature_build
from worker.suggestions import open_transactions, rules_job


def everything(services: Services) -> str:
    """Every row of every table, as text."""
    with services.engine.connect() as connection:
        return "\n".join(
            str(tuple(row))
            for table in Base.metadata.sorted_tables
            for row in connection.execute(text(f"SELECT * FROM {table.name}"))
        )


def test_deletion_removes_everything_of_the_user_and_nothing_of_others(
    client: FlaskClient, services: Services
) -> None:
    for user in ("ada-7", "bob-7"):
        stored = {"external_id": f"x-{user}", "user_id": user, "date": "2026-05-01", "amount": -5}
        client.post(
            "/ml/v2/transactions", json={"transactions": [{**stored, "merchant": f"Shop {user}"}]}
        )
        client.post(
            "/ml/v2/labels", json={"labels": [{"external_id": f"x-{user}", "label": "Toys"}]}
        )
        client.put(
            f"/ml/v2/rules?user_id={user}", json={"rules": [{"label": "A", "merchant": user}]}
        )
        raw = {"merchant": f"Kiosk {user}", "user_id": user}
        item = client.post("/ml/v2/suggest", json={"transactions": [raw]}).json["items"][0]
        client.post(
            f"/ml/v2/suggestions/{item['suggestion_id']}/feedback", json={"action": "reject"}
        )
        client.post(
            "/ml/v2/suggest/history",
            json={"user_id": user},
            headers={"Idempotency-Key": f"history of {user}"},
        )
    feature_build.build_pending(services.engine, feature_build.Scope())
    bobs = everything(services).count("bob")

    gone = client.delete("/ml/v2/users?user_id=ada-7").json

    assert (gone["transactions"], gone["labels"], gone["suggestions"]) == (1, 1, 1)
    assert "ada" not in everything(services).lower()
    assert everything(services).count("bob") == bobs > 0
    assert client.delete("/ml/v2/users?user_id=ada-7").json["transactions"] == 0


def test_open_jobs_of_a_deleted_user_end(client: FlaskClient, services: Services) -> None:
    asked = client.post("/ml/v2/suggest/history", json={"user_id": "ada"}).json["job_id"]
    others = client.post("/ml/v2/suggest/history", json={"user_id": "bob"}).json["job_id"]

    client.delete("/ml/v2/users?user_id=ada")

    assert client.get(f"/ml/v2/jobs/{asked}").json["state"] == "cancelled"
    assert client.get(f"/ml/v2/jobs/{others}").json["state"] == "queued"


def test_lists_continue_over_rows_of_a_deleted_user(
    client: FlaskClient, services: Services
) -> None:
    """He is deleted between the reading of a page and its writing."""
    mine, others = (
        add_transactions(services, "KRONTAL")[0],
        add_transactions(services, "KRONTAL", user="bob")[0],
    )
    client.put("/ml/v2/rules", json={"rules": [{"label": "Sports", "merchant": "krontal"}]})
    (page,) = open_transactions.pages(services.engine, None, lambda *_: None)
    with transaction(services.engine) as session:
        found = suggestion_service.look_up(session, page, lambda _: ServingContext())
        by_rule = rules_job.labels_by_rule(session, page, ServingContext())
    answers = suggestion_service.suggest(*found)

    client.delete("/ml/v2/users?user_id=ada")
    with transaction(services.engine) as session:
        kept = suggestion_store.store(session, answers, forced=False)
        labelled = rules_job.write_labels(session, by_rule)

    assert [it.request.txn_id for it in answers] == [mine, others]
    assert kept[0] is None
    assert kept[1] is not None
    assert labelled["labelled"] == 1
    assert labels(services) == {others: ("Sports", "rule")}

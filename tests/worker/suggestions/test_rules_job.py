"""The job that labels stored transactions by rules."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from shared.services import Services
from tests.support.jobs import job_result
from tests.web.suggestions.test_rules import GYM, add_transactions, labels, put
from worker.suggestions import rules_job


def apply(client: FlaskClient, services: Services, user: str | None = None) -> dict[str, Any]:
    """The result of the job that a caller requests."""
    response = client.post("/ml/v2/rules/apply", json={"user_id": user} if user else {})
    assert response.status_code == 202, response.json
    return job_result(services, response.json["job_id"], rules_job.apply_rules)


def test_rules_label_old_transactions_and_replace_no_human_label(
    client: FlaskClient, services: Services
) -> None:
    mine = add_transactions(services, "KRONTAL", label="Health")[0]
    other = add_transactions(services, "KRONTAL", user="bob")[0]
    open_ = add_transactions(services, "KRONTAL", "ZORBLAX")
    put(client, GYM, user="ada")

    counts = apply(client, services, "ada")

    assert labels(services) == {mine: ("Health", "human"), open_[0]: ("Sports", "rule")}
    assert other not in labels(services)
    assert counts == {"looked_at": 2, "labelled": 1, "changed": 0, "unchanged": 0, "removed": 0}
    assert apply(client, services, "ada")["unchanged"] == 1


def test_labels_of_rules_change_with_the_rules(client: FlaskClient, services: Services) -> None:
    gym, shop = add_transactions(services, "KRONTAL", "ZORBLAX")
    put(client, GYM, {"label": "Toys", "merchant": "zorblax"})
    apply(client, services)
    put(client, {**GYM, "label": "Health"})

    counts = apply(client, services)

    assert (counts["changed"], counts["removed"]) == (1, 1)
    assert labels(services) == {gym: ("Health", "rule")}
    assert shop not in labels(services)

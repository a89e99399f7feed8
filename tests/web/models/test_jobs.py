"""Jobs over HTTP."""

from __future__ import annotations

import pytest

from shared.db.tables import JobKind
from tests.support.factories import add_transactions


def test_second_training_request_is_409_with_the_id_of_the_first(client, engine):
    """The caller learns which job to follow instead."""
    add_transactions(engine, 30, labelled=30)
    first = client.post("/ml/v2/train")

    second = client.post("/ml/v2/train")

    assert first.status_code == 202
    assert second.status_code == 409
    assert second.json["job_id"] == first.json["job_id"]


def test_same_idempotency_key_gives_the_same_job(client, engine):
    """A repeated request asks for nothing new; another request with the key is a conflict."""
    key = {"Idempotency-Key": "k-1"}

    first = client.post("/ml/v2/features", json={"days": 7}, headers=key)
    again = client.post("/ml/v2/features", json={"days": 7}, headers=key)
    other = client.post("/ml/v2/features", json={"days": 8}, headers=key)
    bad = client.post("/ml/v2/features", headers={"Idempotency-Key": "a b"})

    assert first.json["job_id"] == again.json["job_id"]
    assert (again.status_code, other.status_code, bad.status_code) == (202, 409, 400)


def test_job_can_be_followed_listed_and_cancelled(client):
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
def test_jobs_can_be_listed_by_each_kind(client, kind):
    """A kind that is added to the service can be asked for at once."""
    assert client.get(f"/ml/v2/jobs?kind={kind}").json == {"jobs": []}

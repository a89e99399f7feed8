"""A whole history is suggested as a job."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, text

from shared.db.tables import Job, JobKind, JobState, LabelSource, TransactionLabel
from shared.jobs import requests as job_requests
from shared.services import Services
from tests.support.api import deploy_a_model
from tests.support.factories import add_transactions
from tests.support.jobs import run_job
from worker.suggestions import backfill_job, open_transactions


def done(own: Services, user_id: str | None = None) -> Job:
    """The row of a suggest job after its work."""
    job = job_requests.request_for_user(
        own.engine, own.publisher, JobKind.SUGGEST, requested_by="test", user_id=user_id
    )
    return run_job(own, job.id, backfill_job.run)


def suggested(own: Services) -> list[int]:
    with own.engine.connect() as connection:
        return list(connection.scalars(text("SELECT txn_id FROM suggestions ORDER BY 1")))


@pytest.fixture(autouse=True)
def pages_of_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_transactions, "PAGE", 10)


def test_every_open_transaction_is_suggested_once(services: Services) -> None:
    deploy_a_model(services.engine, services.registry)
    ids = add_transactions(services.engine, 35, seed=7)
    with services.engine.begin() as connection:
        for txn_id, source in ((ids[0], LabelSource.IMPORT), (ids[1], LabelSource.RULE)):
            connection.execute(
                insert(TransactionLabel).values(txn_id=txn_id, label="Said", source=source)
            )
        connection.execute(text(f"UPDATE transactions SET deleted_at = now() WHERE id = {ids[2]}"))

    job = done(services)

    assert job.state is JobState.SUCCEEDED
    assert suggested(services) == [ids[1], *ids[3:]]
    assert job.result["suggested"] == 33
    assert sum(job.result["by_source"].values()) == 33
    assert (job.done, job.total) == (33, 33)


def test_suggestions_of_a_user_leave_other_users_out(services: Services) -> None:
    ids = add_transactions(services.engine, 12, seed=7)
    with services.engine.begin() as connection:
        connection.execute(text(f"UPDATE transactions SET user_id = 'ada' WHERE id < {ids[4]}"))

    done(services, user_id="ada")

    assert suggested(services) == ids[:4]

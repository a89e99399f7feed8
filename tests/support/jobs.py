"""Jobs that are run in the process of the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shared.db.engine import transaction
from shared.db.tables import Job
from shared.jobs import store as job_store
from shared.services import Services
from worker.execution.runner import run


def run_job(services: Services, job_id: str, work: Callable[..., Any]) -> Job:
    """Claim a job, do its work, and return its row as it ended."""
    with transaction(services.engine) as session:
        claim = job_store.claim(session, job_id)
    assert claim is not None
    run(services, claim, work)
    with transaction(services.engine) as session:
        return job_store.get(session, job_id)


def job_result(services: Services, job_id: str, work: Callable[..., Any]) -> dict[str, Any]:
    """The result of a job that succeeds."""
    job = run_job(services, job_id, work)
    assert job.result is not None, job.error
    return job.result

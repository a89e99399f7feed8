"""Execution of one claimed job: its work, its final state, and what follows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.db.engine import CONNECTION_ERRORS, transaction
from shared.db.tables import Job, JobState
from shared.errors import JobCancelled, LeaseLost, LedgerError, Unavailable
from shared.jobs import requests as job_requests
from shared.jobs import store as job_store
from shared.jobs.store import Claim
from shared.log import get_logger
from shared.services import Services
from worker.execution.lease import Lease

ENDED = (JobState.SUCCEEDED, JobState.FAILED)  # not cancelled: then nothing follows
log = get_logger()


class Retryable(Exception):
    """The work was ended from outside, as by a signal; another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of the work, and what remains to be done under the lock of the job's row."""

    result: dict[str, Any]
    # Returns more results; called while no other worker can take the job over.
    finalize: Callable[[], Mapping[str, Any]] = dict


Work = Callable[[Services, Claim, Lease], Outcome]
WriteEnd = Callable[[Session], JobState]


def run(services: Services, claim: Claim, work: Work) -> None:
    """Do the work of one claimed job and store how it ended.

    Without the lease nothing is stored: the job belongs to another worker by then.
    """
    log.info("job.started", kind=claim.kind.value, attempt=claim.attempt)
    try:
        with Lease(services.engine, claim) as lease:
            write_end = _do_work(services, claim, lease, work)
            follow_up = _commit_end(services.engine, claim, write_end)
    except LeaseLost:
        log.warning("job.lease_lost", attempt=claim.attempt)
    except Unavailable:
        log.error("job.end_not_written", attempt=claim.attempt)
    else:
        services.publisher.publish([follow_up] if follow_up else [])


def _do_work(services: Services, claim: Claim, lease: Lease, work: Work) -> WriteEnd:
    """Do the work; return what writes the job's end.

    Raises:
        LeaseLost: another worker has the job.
    """

    def fail(code: str, message: str, **facts: Any) -> WriteEnd:
        error = {"code": code, "message": message, **facts}
        return lambda session: job_store.finish(session, claim, JobState.FAILED, error=error)

    try:
        outcome = work(services, claim, lease)
    except LeaseLost:
        raise
    except JobCancelled:
        return lambda session: job_store.finish(session, claim, JobState.CANCELLED)
    except (Retryable, *CONNECTION_ERRORS) as error:
        reason = str(error) if isinstance(error, Retryable) else "PostgreSQL went away"
        log.warning("job.tried_in_vain", attempt=claim.attempt, error=type(error).__name__)
        return lambda session: job_store.release(session, claim, reason)
    except LedgerError as error:
        return fail(error.code, str(error), **error.facts)
    except Exception:
        log.exception("job.broke")
        return fail("internal_error", "See the worker's log")

    def succeed(session: Session) -> JobState:
        if job_store.renew(session, claim, lease.progress):
            return job_store.finish(session, claim, JobState.CANCELLED)
        try:
            result = {**outcome.result, **outcome.finalize()}
        except LedgerError as error:
            return fail(error.code, str(error))(session)
        return job_store.finish(session, claim, JobState.SUCCEEDED, result=result)

    return succeed


def _commit_end(engine: Engine, claim: Claim, write_end: WriteEnd) -> Job | None:
    """Write the job's end, again and again for LEASE_S; return the job to publish after it.

    Raises:
        LeaseLost: another worker has the job.
        Unavailable: PostgreSQL does not answer; the sweep takes the job back.
    """
    deadline = time.monotonic() + job_store.LEASE_S
    while True:
        try:
            with transaction(engine) as session:
                state = write_end(session)
                follow_up = None
                if claim.params.get("then") == "train" and state in ENDED:
                    follow_up = job_requests.follow_with_training(
                        session, idempotency_key=f"after {claim.job_id}"
                    )
            log.info("job.ended", kind=claim.kind.value, state=state.value)
            return follow_up
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)

"""One claimed job from its first step to its last state, whatever happens on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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

log = get_logger()


class Retryable(Exception):
    """The work was ended from outside (killed, say); another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the work gave, and what must still be done while the job is surely our own."""

    result: dict[str, Any] = field(default_factory=dict)
    finalize: Callable[[], Mapping[str, Any]] = (
        dict  # more results; called under the job's row lock
    )


Work = Callable[[Services, Claim, Lease], Outcome]


def run(own: Services, claim: Claim, work: Work) -> None:
    """Do the work of one claimed job and write down how it ended.

    A worker that lost its lease writes nothing: the job is another one's by then.
    """
    log.info("job.started", kind=claim.kind.value, attempt=claim.attempt)
    try:
        with Lease(own.engine, claim) as lease:
            end = _run_work(own, claim, lease, work)
            follow_up = _write(own, claim, end)
    except LeaseLost:
        log.warning("job.lease_lost", attempt=claim.attempt)
        return
    except Unavailable:
        log.error("job.end_not_written", attempt=claim.attempt)
        return
    own.publisher.publish(follow_up)


Ending = Callable[[Session], JobState]


def _run_work(own: Services, claim: Claim, lease: Lease, work: Work) -> Ending:
    """Do the work; give what is to be written in the transaction that ends the job."""
    try:
        outcome = work(own, claim, lease)
    except LeaseLost:
        raise
    except JobCancelled:
        return lambda session: _finish(session, claim, JobState.CANCELLED)
    except (Retryable, *CONNECTION_ERRORS) as error:
        reason = str(error) if isinstance(error, Retryable) else "PostgreSQL went away"
        log.warning("job.tried_in_vain", attempt=claim.attempt, error=type(error).__name__)
        return lambda session: job_store.release(session, claim, reason)
    except LedgerError as error:
        return _failing(claim, {"code": error.code, "message": str(error), **error.facts})
    except Exception:
        log.exception("job.broke")
        return _failing(claim, {"code": "internal_error", "message": "See the worker's log"})

    def succeed(session: Session) -> JobState:
        job_store.lock_claim(session, claim)
        if job_store.renew(session, claim, lease.progress):
            return _finish(session, claim, JobState.CANCELLED)
        try:
            result = {**outcome.result, **outcome.finalize()}
        except LedgerError as error:
            return _failing(claim, {"code": error.code, "message": str(error)})(session)
        return _finish(session, claim, JobState.SUCCEEDED, result=result)

    return succeed


def _write(own: Services, claim: Claim, end: Ending) -> list[Job]:
    """End the job, with a PostgreSQL that comes back within the lease; give the jobs to announce.

    Raises:
        LeaseLost: the job is another worker's.
        Unavailable: PostgreSQL stayed away; the sweep will see to the job.
    """
    deadline = time.monotonic() + job_store.LEASE_S
    while True:
        try:
            with transaction(own.engine) as session:
                state = end(session)
                follow_up = None
                if claim.params.get("then") == "train" and state in (
                    JobState.SUCCEEDED,
                    JobState.FAILED,
                ):
                    follow_up = job_requests.follow_with_training(
                        session, idempotency_key=f"after {claim.job_id}"
                    )
            log.info("job.ended", kind=claim.kind.value, state=state.value)
            return [follow_up] if follow_up else []
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _finish(
    session: Session,
    claim: Claim,
    state: JobState,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> JobState:
    job_store.finish(session, claim, state, result=result, error=error)
    return state


def _failing(claim: Claim, error: Mapping[str, Any]) -> Ending:
    return lambda session: _finish(session, claim, JobState.FAILED, error=error)

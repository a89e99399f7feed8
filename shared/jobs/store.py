"""Job rows and their state machine: requests, claims, leases and outcomes.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | cancelled
       ▲                 │
       └────sweep────────┘  the lease has expired: the worker is dead, frozen or cut off

Each change is one statement whose WHERE names the state it starts from, so of two concurrent ones
one wins. A worker proves by the token in its `Claim` that the job is still its own.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, case, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.db.tables import Job, JobKind, JobState
from shared.errors import AlreadyRunning, Conflict, LeaseLost, NotFound

MAX_ATTEMPTS = 3
LEASE_S = 15  # without a renewal for this time, a worker has lost its job
RESEND_AFTER_S = 4  # after this time, a message that is not in its queue was lost
OPEN = (JobState.QUEUED, JobState.RUNNING)
# Which queue carries which kind of job.
QUEUES: dict[str, tuple[JobKind, ...]] = {
    "features": tuple(kind for kind in JobKind if kind is not JobKind.TRAIN),
    "training": (JobKind.TRAIN,),
}
QUEUE_OF = {kind: queue for queue, kinds in QUEUES.items() for kind in kinds}


class Claim(NamedTuple):
    """A worker's right to work on a job, void once another worker has claimed it."""

    job_id: str
    kind: JobKind
    params: dict[str, Any]
    token: str
    attempt: int
    parent_id: str | None
    requested_by: str


class JobProgress(NamedTuple):
    """Progress of a job: its phase, and rows or steps done of a total."""

    phase: str
    done: int
    total: int


def create(
    session: Session,
    kind: JobKind,
    *,
    requested_by: str,
    params: Mapping[str, Any] | None = None,
    idempotency_key: str | None = None,
) -> tuple[Job, bool]:
    """Insert a queued job; return it and whether it is new: the same key gives the same job.

    Raises:
        AlreadyRunning: a training run is queued or running; its id is in the facts.
        Conflict: the key was used before for another request.
    """
    values = {
        "id": secrets.token_hex(8),
        "kind": kind,
        "params": dict(params or {}),
        "requested_by": requested_by,
        "idempotency_key": idempotency_key,
    }
    # A row that conflicts may end between INSERT and SELECT; then the next INSERT succeeds.
    for _ in range(5):
        job = session.scalars(
            insert(Job).values(values).on_conflict_do_nothing().returning(Job)
        ).one_or_none()
        if job is not None:
            return job, True
        of_kind = select(Job).where(Job.kind == kind)
        if idempotency_key is not None:
            job = session.scalars(
                of_kind.where(Job.idempotency_key == idempotency_key)
            ).one_or_none()
            if job is not None:
                if job.params != values["params"]:
                    raise Conflict("This Idempotency-Key was used for another request")
                return job, False
        running = session.scalars(of_kind.where(Job.state.in_(OPEN)).limit(1)).first()
        if running is not None:
            raise AlreadyRunning(f"Job {running.id} is {running.state.value}", job_id=running.id)
    raise Conflict("Jobs come and go too quickly; try again")


def create_skipped(
    session: Session, kind: JobKind, *, requested_by: str, reason: str, idempotency_key: str | None
) -> None:
    """Record a job that was due but not needed, with the reason."""
    session.execute(
        insert(Job)
        .values(
            id=secrets.token_hex(8),
            kind=kind,
            state=JobState.SUCCEEDED,
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            result={"skipped": True, "reason": reason},
            finished_at=func.now(),
        )
        .on_conflict_do_nothing()
    )


def get(session: Session, job_id: str) -> Job:
    """Return the job with this id.

    Raises:
        NotFound: there is none.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound("There is no such job")
    return job


def list_newest(
    session: Session, *, limit: int, kind: JobKind | None = None, state: JobState | None = None
) -> Sequence[Job]:
    """Return the newest jobs, newest first; ranges are parts of jobs and left out."""
    query = select(Job).where(Job.parent_id.is_(None))
    if kind is not None:
        query = query.where(Job.kind == kind)
    if state is not None:
        query = query.where(Job.state == state)
    return session.scalars(query.order_by(Job.created_at.desc(), Job.id).limit(limit)).all()


def claim(session: Session, job_id: str) -> Claim | None:
    """Claim a job; None if it is not queued, as after a duplicate message."""
    job = session.scalars(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.QUEUED)
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            token=secrets.token_hex(8),
            lease_until=_from_now(LEASE_S),
            started_at=func.coalesce(Job.started_at, func.now()),
            phase=None,
            done=0,
            total=0,
        )
        .returning(Job)
    ).one_or_none()
    if job is None or job.token is None:
        return None
    return Claim(
        job.id, job.kind, job.params, job.token, job.attempt, job.parent_id, job.requested_by
    )


def renew(session: Session, claim: Claim, progress: JobProgress | None = None) -> bool:
    """Renew the lease and store the progress; return whether the job is to be cancelled.

    The job's row is locked until the transaction ends, so nobody can take the job over meanwhile.

    Raises:
        LeaseLost: another worker has the job.
    """
    return _update_claimed(
        session, claim, lease_until=_from_now(LEASE_S), **(progress._asdict() if progress else {})
    )


def finish(
    session: Session,
    claim: Claim,
    state: JobState,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> JobState:
    """End the job; return its *state*.

    Raises:
        LeaseLost: another worker has the job; nothing is written.
    """
    _update_claimed(
        session,
        claim,
        state=state,
        result=dict(result) if result is not None else None,
        error=dict(error) if error is not None else None,
        lease_until=None,
        token=None,
        finished_at=func.now(),
    )
    return state


def release(session: Session, claim: Claim, reason: str) -> JobState:
    """Queue the job for another attempt, or end it `failed` after the last; return its state.

    Raises:
        LeaseLost: another worker has the job.
    """
    if claim.attempt >= MAX_ATTEMPTS:
        error = _worker_lost(reason, claim.attempt)
        return finish(session, claim, JobState.FAILED, error=error)
    _update_claimed(
        session, claim, state=JobState.QUEUED, token=None, lease_until=None, sent_at=None
    )
    return JobState.QUEUED


def cancel(session: Session, job_id: str) -> Job:
    """Cancel a job and its ranges: queued ones at once, running ones at their next renewal.

    A job that has ended stays as it is.

    Raises:
        NotFound: there is none with this id.
    """
    job = get(session, job_id)
    queued = Job.state == JobState.QUEUED
    session.execute(
        update(Job)
        .where(or_(Job.id == job_id, Job.parent_id == job_id), Job.state.in_(OPEN))
        .values(
            cancel_requested=True,
            state=case((queued, JobState.CANCELLED), else_=Job.state),
            finished_at=case((queued, func.now()), else_=None),
        )
        .execution_options(synchronize_session=False)
    )
    session.refresh(job)
    return job


class Ranges(NamedTuple):
    """State of a job's ranges: open and queued ones, rows done by all of them, and failures."""

    open: int
    queued: list[str]
    done: int
    failed: list[dict[str, Any]]
    cancelled: int


def add_ranges(
    session: Session, parent: Claim, ranges: Sequence[Mapping[str, Any]]
) -> Sequence[Job]:
    """Insert a job for each range of a features job, so that all workers can share it.

    Raises:
        LeaseLost: another worker has the features job; no range was added.
    """
    renew(session, parent)
    rows = [
        {
            "id": secrets.token_hex(8),
            "kind": JobKind.FEATURES_RANGE,
            "parent_id": parent.job_id,
            "params": dict(params),
            "requested_by": parent.requested_by,
        }
        for params in ranges
    ]
    return session.scalars(insert(Job).returning(Job), rows).all()


def load_ranges(session: Session, job_id: str) -> Ranges:
    """Return the state of a job's ranges."""
    rows = session.execute(
        select(Job.id, Job.state, Job.done, Job.error)
        .where(Job.parent_id == job_id)
        .order_by(Job.created_at, Job.id)
    ).all()
    return Ranges(
        open=sum(row.state in OPEN for row in rows),
        queued=[row.id for row in rows if row.state is JobState.QUEUED],
        done=sum(row.done for row in rows),
        failed=[row.error or {} for row in rows if row.state is JobState.FAILED],
        cancelled=sum(row.state is JobState.CANCELLED for row in rows),
    )


def sweep(session: Session) -> dict[str, int]:
    """Take back the jobs with an expired lease; return how many came to each state.

    Cancelled ones end, those that had their last attempt fail, all others are queued again.
    """
    expired = and_(Job.state == JobState.RUNNING, Job.lease_until < func.now())
    jobs = session.scalars(select(Job).where(expired).with_for_update(skip_locked=True)).all()
    for job in jobs:
        if job.cancel_requested:
            job.state = JobState.CANCELLED
        elif job.attempt >= MAX_ATTEMPTS:
            job.state = JobState.FAILED
            job.error = _worker_lost("its worker died or stopped answering", job.attempt)
        else:
            job.state = JobState.QUEUED
        job.token = job.lease_until = job.sent_at = None
        if job.state is not JobState.QUEUED:
            job.finished_at = session.scalars(select(func.now())).one()
    session.flush()
    return Counter(job.state.value for job in jobs)


def list_unsent(
    session: Session, kinds: Sequence[JobKind], *, queue_is_empty: bool
) -> Sequence[Job]:
    """Return queued jobs whose message was never sent, or was lost.

    A queue is first in, first out: a message is lost, too, if a later one has been taken.
    """
    never = and_(Job.sent_at.is_(None), Job.created_at < _from_now(-2))
    old = Job.sent_at < _from_now(-RESEND_AFTER_S)
    taken = select(func.max(Job.sent_at)).where(
        Job.kind.in_(kinds), Job.started_at.is_not(None), Job.state != JobState.QUEUED
    )
    is_gone = true() if queue_is_empty else Job.sent_at < taken.scalar_subquery()
    return session.scalars(
        select(Job)
        .where(Job.state == JobState.QUEUED, Job.kind.in_(kinds), or_(never, and_(old, is_gone)))
        .order_by(Job.created_at)
        .limit(500)
    ).all()


def mark_sent(session: Session, job_ids: Sequence[str]) -> None:
    """Store that a message for each of these jobs was sent just now."""
    session.execute(update(Job).where(Job.id.in_(job_ids)).values(sent_at=func.now()))


def _update_claimed(session: Session, claim: Claim, **values: Any) -> bool:
    """Change the row of a claimed job; return whether the job is to be cancelled.

    Raises:
        LeaseLost: the token in the row is another one.
    """
    cancel = session.scalars(
        update(Job)
        .where(Job.id == claim.job_id, Job.token == claim.token, Job.state == JobState.RUNNING)
        .values(values)
        .returning(Job.cancel_requested)
    ).one_or_none()
    if cancel is None:
        raise LeaseLost(f"Job {claim.job_id} was taken over")
    return cancel


def _from_now(seconds: float) -> Any:
    """A time *seconds* from now by the database's clock, the only one that all processes share."""
    return func.now() + dt.timedelta(seconds=seconds)


def _worker_lost(reason: str, attempt: int) -> dict[str, Any]:
    return {
        "code": "worker_lost",
        "message": f"{reason}; attempt {attempt} of {MAX_ATTEMPTS}, so it is not tried again",
    }

"""The job rows and their states: what was asked for, who works on it, how it ended.

    queued ──claim──▶ running ──finish──▶ succeeded | failed | cancelled
       ▲                 │
       └────sweep────────┘  the lease ran out: the worker is dead, frozen or cut off

Every change is one statement whose WHERE names the state it starts from, so of two that try, one
wins. A worker proves with its token that the job is still its own; see `Claim`.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import CursorResult, Select, Update, and_, case, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.db.tables import Job, JobKind, JobState
from shared.errors import AlreadyRunning, Conflict, LeaseLost, NotFound

MAX_ATTEMPTS = 3
LEASE_S = 15  # a worker that says nothing for so long has lost its job
RESEND_AFTER_S = 4  # a message not picked up for so long, with an empty queue, was lost
OPEN = (JobState.QUEUED, JobState.RUNNING)


class Claim(NamedTuple):
    """One worker's right to work on a job; worthless once another one has claimed it."""

    job_id: str
    kind: JobKind
    params: dict[str, Any]
    token: str
    attempt: int
    parent_id: str | None
    requested_by: str


class JobProgress(NamedTuple):
    """How far a job is: a phase, and rows (or steps) done of a total."""

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
    """Ask for a job; give it and whether it is new, or was asked for before with the same key.

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
    # A conflicting row can end between our INSERT and our look at it: then the way is free.
    for _ in range(5):
        job = session.scalars(
            insert(Job).values(values).on_conflict_do_nothing().returning(Job)
        ).one_or_none()
        if job is not None:
            return job, True
        if idempotency_key is not None:
            known = session.scalars(
                select(Job).where(Job.kind == kind, Job.idempotency_key == idempotency_key)
            ).one_or_none()
            if known is not None:
                if known.params != values["params"]:
                    raise Conflict("This Idempotency-Key was used for another request")
                return known, False
        running = session.scalars(_open(kind)).first()
        if running is not None:
            raise AlreadyRunning(f"Job {running.id} is {running.state.value}", job_id=running.id)
    raise Conflict("Jobs come and go too quickly; try again")


def create_skipped(
    session: Session, kind: JobKind, *, requested_by: str, reason: str, idempotency_key: str | None
) -> None:
    """Record a run that was due and not needed, with the reason."""
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
    """One job.

    Raises:
        NotFound: there is none of this id.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound("There is no such job")
    return job


def list_newest(
    session: Session, *, limit: int, kind: JobKind | None = None, state: JobState | None = None
) -> Sequence[Job]:
    """The jobs that people and schedules asked for, newest first; ranges are parts of those."""
    asked_for = select(Job).where(Job.parent_id.is_(None))
    if kind is not None:
        asked_for = asked_for.where(Job.kind == kind)
    if state is not None:
        asked_for = asked_for.where(Job.state == state)
    return session.scalars(asked_for.order_by(Job.created_at.desc(), Job.id).limit(limit)).all()


def claim(session: Session, job_id: str) -> Claim | None:
    """Take a queued job; None if there is nothing to take: a duplicate message does nothing."""
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
    """Keep the lease and note the progress; True if somebody asked for the end of the job.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    values: dict[str, Any] = {"lease_until": _from_now(LEASE_S)}
    if progress is not None:
        values |= {"phase": progress.phase, "done": progress.done, "total": progress.total}
    cancel = session.scalars(
        _is_claimed(claim).values(values).returning(Job.cancel_requested)
    ).one_or_none()
    if cancel is None:
        raise LeaseLost(f"Job {claim.job_id} was taken over")
    return cancel


def lock_claim(session: Session, claim: Claim) -> None:
    """Lock the job's row until the transaction ends: nobody can take the job over meanwhile.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    mine = select(Job.id).where(
        Job.id == claim.job_id, Job.token == claim.token, Job.state == JobState.RUNNING
    )
    if session.scalars(mine.with_for_update()).one_or_none() is None:
        raise LeaseLost(f"Job {claim.job_id} was taken over")


def finish(
    session: Session,
    claim: Claim,
    state: JobState,
    *,
    result: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    """End the job.

    Raises:
        LeaseLost: the job is no longer this worker's; nothing is written.
    """
    ended = _affected(
        session,
        _is_claimed(claim).values(
            state=state,
            result=dict(result) if result is not None else None,
            error=dict(error) if error is not None else None,
            lease_until=None,
            token=None,
            finished_at=func.now(),
        ),
    )
    if not ended:
        raise LeaseLost(f"Job {claim.job_id} was taken over")


def release(session: Session, claim: Claim, reason: str) -> JobState:
    """Let another attempt be made, or end the job `failed` if this was the last one.

    Raises:
        LeaseLost: the job is no longer this worker's.
    """
    if claim.attempt >= MAX_ATTEMPTS:
        finish(session, claim, JobState.FAILED, error=_lease_lost(reason, claim.attempt))
        return JobState.FAILED
    again = _is_claimed(claim).values(
        state=JobState.QUEUED, token=None, lease_until=None, sent_at=None
    )
    if not _affected(session, again):
        raise LeaseLost(f"Job {claim.job_id} was taken over")
    return JobState.QUEUED


def cancel(session: Session, job_id: str) -> Job:
    """Ask for the end of a job and its ranges: at once where nobody works, else when noticed.

    A job that has ended stays as it is.

    Raises:
        NotFound: there is none of this id.
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
    """How the ranges of one job stand: jobs still open, rows done by all of them, and failures."""

    open: int
    queued: list[str]
    done: int
    failed: list[dict[str, Any]]
    cancelled: int


def add_ranges(
    session: Session, parent: Claim, parts: Sequence[Mapping[str, Any]]
) -> Sequence[Job]:
    """One job for each range of a features job, so that every worker can take some of them.

    Raises:
        LeaseLost: the job is no longer this worker's; no range was made.
    """
    lock_claim(session, parent)
    rows = [
        {
            "id": secrets.token_hex(8),
            "kind": JobKind.FEATURES_RANGE,
            "parent_id": parent.job_id,
            "params": dict(part),
            "requested_by": parent.requested_by,
        }
        for part in parts
    ]
    return session.scalars(insert(Job).returning(Job), rows).all()


def load_ranges(session: Session, job_id: str) -> Ranges:
    """What has become of the ranges of a job so far."""
    found = session.execute(
        select(Job.id, Job.state, Job.done, Job.error)
        .where(Job.parent_id == job_id)
        .order_by(Job.created_at, Job.id)
    ).all()
    return Ranges(
        open=sum(row.state in OPEN for row in found),
        queued=[row.id for row in found if row.state is JobState.QUEUED],
        done=sum(row.done for row in found),
        failed=[row.error or {} for row in found if row.state is JobState.FAILED],
        cancelled=sum(row.state is JobState.CANCELLED for row in found),
    )


def sweep(session: Session) -> dict[str, int]:
    """Take back the jobs of workers that are dead, frozen or cut off.

    Cancelled ones end, those that had their last attempt fail, all others are queued again.
    Gives how many came to each state.
    """
    lost = and_(Job.state == JobState.RUNNING, Job.lease_until < func.now())
    rows = session.scalars(select(Job).where(lost).with_for_update(skip_locked=True)).all()
    counts: dict[str, int] = {}
    for job in rows:
        if job.cancel_requested:
            job.state = JobState.CANCELLED
        elif job.attempt >= MAX_ATTEMPTS:
            job.state = JobState.FAILED
            job.error = _lease_lost("its worker died or stopped answering", job.attempt)
        else:
            job.state = JobState.QUEUED
        job.token = job.lease_until = job.sent_at = None
        if job.state is not JobState.QUEUED:
            job.finished_at = session.scalars(select(func.now())).one()
        counts[job.state.value] = counts.get(job.state.value, 0) + 1
    session.flush()
    return counts


def list_unsent(
    session: Session, kinds: Sequence[JobKind], *, queue_is_empty: bool
) -> Sequence[Job]:
    """Queued jobs whose message never went out, or was lost: sent long ago, and no longer there.

    A queue gives messages in their order, so one is lost, too, if a later one has been taken.
    """
    never = and_(Job.sent_at.is_(None), Job.created_at < _from_now(-2))
    old = Job.sent_at < _from_now(-RESEND_AFTER_S)
    taken = select(func.max(Job.sent_at)).where(
        Job.kind.in_(kinds), Job.started_at.is_not(None), Job.state != JobState.QUEUED
    )
    is_gone = true() if queue_is_empty else Job.sent_at < taken.scalar_subquery()
    missing = or_(never, and_(old, is_gone))
    return session.scalars(
        select(Job)
        .where(Job.state == JobState.QUEUED, Job.kind.in_(kinds), missing)
        .order_by(Job.created_at)
        .limit(500)
    ).all()


def mark_sent(session: Session, job_ids: Sequence[str]) -> None:
    """Note that a message for each of these jobs went out just now."""
    session.execute(update(Job).where(Job.id.in_(job_ids)).values(sent_at=func.now()))


def _open(kind: JobKind) -> Select[Job]:
    return select(Job).where(Job.kind == kind, Job.state.in_(OPEN)).limit(1)


def _is_claimed(claim: Claim) -> Update:
    return update(Job).where(
        Job.id == claim.job_id, Job.token == claim.token, Job.state == JobState.RUNNING
    )


def _affected(session: Session, statement: Update) -> int:
    result = session.execute(statement)
    return result.rowcount if isinstance(result, CursorResult) else 0


def _from_now(seconds: float) -> Any:
    """A moment so many seconds from now, by the database's clock: the only one all agree on."""
    return func.now() + dt.timedelta(seconds=seconds)


def _lease_lost(reason: str, attempt: int) -> dict[str, Any]:
    return {
        "code": "worker_lost",
        "message": f"{reason}; attempt {attempt} of {MAX_ATTEMPTS}, so it is not tried again",
    }

"""/ml/v2/jobs, and the requests for features and training."""

from __future__ import annotations

from flask import jsonify
from flask.typing import ResponseReturnValue

from shared.db import labels
from shared.db.engine import transaction
from shared.db.tables import Job, JobState
from shared.errors import NotEnoughLabels
from shared.jobs import requests as job_requests
from shared.jobs import store as job_store
from web.http import schemas
from web.http.auth import caller
from web.http.context import get_services
from web.http.context import ml_v2 as bp
from web.http.job_responses import accepted_response, idempotency_key
from web.http.openapi import documented, documented_job
from web.http.parsing import parse, parse_query


@bp.post("/features")
@documented_job(body=schemas.FeaturesRequest, errors=(503,))
def features() -> ResponseReturnValue:
    """Queue a job that builds the features of new and changed transactions."""
    args = parse(schemas.FeaturesRequest, may_be_empty=True)
    job = job_requests.request_features(
        get_services().engine,
        get_services().publisher,
        requested_by=caller(),
        days=None if args.all else args.days,
        idempotency_key=idempotency_key(),
    )
    return accepted_response(job)


@bp.post("/train")
@documented_job(body=schemas.TrainRequest, errors=(409, 503))
def train() -> ResponseReturnValue:
    """Queue a training run; its version goes live if it passes the gate.

    400 `not_enough_labels` at once where there is too little to learn from; 409 with the `job_id`
    of the run that is queued or running.
    """
    args = parse(schemas.TrainRequest, may_be_empty=True)
    key = idempotency_key()
    with transaction(get_services().engine) as session:
        found, needed = labels.count(session), get_services().settings.min_labels
    if found < needed:
        raise NotEnoughLabels(
            f"{found} labelled transactions found, {needed} needed", found=found, needed=needed
        )
    job = job_requests.request_training(
        get_services().engine,
        get_services().publisher,
        requested_by=caller(),
        limit=args.limit,
        deploy=args.deploy,
        idempotency_key=key,
    )
    return accepted_response(job)


@bp.get("/jobs")
@documented(query=schemas.JobsQuery, answer=schemas.Jobs, errors=(503,))
def list_jobs() -> ResponseReturnValue:
    """The newest jobs."""
    args = parse_query(schemas.JobsQuery)
    with transaction(get_services().engine) as session:
        jobs = job_store.list_newest(session, limit=args.limit, kind=args.kind, state=args.state)
    return jsonify(schemas.Jobs(jobs=[_job(job) for job in jobs]))


@bp.get("/jobs/<job_id>")
@documented(answer=schemas.Job, errors=(404, 503))
def show_job(job_id: str) -> ResponseReturnValue:
    """The progress of a job, or how it ended."""
    with transaction(get_services().engine) as session:
        return jsonify(_job(job_store.get(session, job_id)))


@bp.delete("/jobs/<job_id>")
@documented(answer=schemas.Job, status=202, errors=(404, 503))
def cancel_job(job_id: str) -> ResponseReturnValue:
    """Cancel a job; it ends as `cancelled` within seconds, or has ended already."""
    with transaction(get_services().engine) as session:
        return jsonify(_job(job_store.cancel(session, job_id))), 202


def _job(job: Job) -> schemas.Job:
    done, total = job.done, job.total
    percent = round(100 * min(done, total) / total, 1) if total else 0.0
    if job.state is JobState.SUCCEEDED:
        percent = 100.0
    return schemas.Job(
        job_id=job.id,
        kind=job.kind,
        state=job.state,
        requested_by=job.requested_by,
        reason=job.params.get("reason"),
        attempt=job.attempt,
        progress=schemas.Progress(phase=job.phase, done=done, total=total, percent=percent),
        result=job.result,
        error=job.error,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )

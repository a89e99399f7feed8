"""Requests for work: one typed function for each kind of job.

A request is a committed row. Its message only announces it: a background thread sends it, so no
caller waits for the broker, and the workers send a lost one again (`worker.execution.recovery`).

Each function raises Unavailable when PostgreSQL does not answer. Those that take an
`idempotency_key` raise Conflict if it was used before for another request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared.db.engine import transaction
from shared.db.tables import Job, JobKind
from shared.errors import AlreadyRunning
from shared.jobs import store as job_store
from shared.jobs.publisher import JobPublisher
from shared.statements import uploads


def request_features(
    engine: Engine,
    publisher: JobPublisher,
    *,
    requested_by: str,
    days: int | None,
    idempotency_key: str | None = None,
) -> Job:
    """Request the features of new and changed transactions of the last *days*; None means all."""
    params = {"days": days}
    return _request(engine, publisher, JobKind.FEATURES, params, requested_by, idempotency_key)[0]


def request_training(
    engine: Engine,
    publisher: JobPublisher,
    *,
    requested_by: str,
    limit: int | None,
    deploy: str,
    idempotency_key: str | None = None,
    only_if_new: bool = False,
    reason: str = "",
) -> Job:
    """Request a training run on the newest *limit* labels.

    Args:
        deploy: `gate` deploys the version if it passes the promotion gate, `never` does not.
        only_if_new: skip the run if no label or transaction has changed since the last version.
        reason: stored with the job.

    Raises:
        AlreadyRunning: a run is queued or running.
    """
    optional = {"only_if_new": only_if_new, "reason": reason}
    params = {"limit": limit, "deploy": deploy} | {k: v for k, v in optional.items() if v}
    return _request(engine, publisher, JobKind.TRAIN, params, requested_by, idempotency_key)[0]


def request_for_user(
    engine: Engine,
    publisher: JobPublisher,
    kind: Literal[JobKind.SUGGEST, JobKind.RULES],
    *,
    requested_by: str,
    user_id: str | None,
    idempotency_key: str | None = None,
) -> Job:
    """Request suggestions, or the labels of rules, for a user's open transactions.

    A *user_id* of None means all users.
    """
    return _request(engine, publisher, kind, {"user_id": user_id}, requested_by, idempotency_key)[0]


def request_import(
    engine: Engine,
    publisher: JobPublisher,
    *,
    requested_by: str,
    file: uploads.Upload,
    idempotency_key: str | None = None,
) -> Job:
    """Store a statement and request its import, in one transaction.

    The same key with another file or other options is a Conflict.
    """
    params = {"user_id": file.options.user}
    return _request(
        engine, publisher, JobKind.IMPORT, params, requested_by, idempotency_key, file=file
    )[0]


def request_nightly(engine: Engine, publisher: JobPublisher, *, night: str) -> Job | None:
    """Request the features of a *night* (a date in UTC), which training follows.

    Return None if they were requested before.
    """
    params = {"days": None, "then": "train"}
    job, new = _request(engine, publisher, JobKind.FEATURES, params, "beat", f"nightly {night}")
    return job if new else None


def request_drift(engine: Engine, publisher: JobPublisher, *, hour: str) -> Job | None:
    """Request a drift report of the last week; return None if this *hour* has a request."""
    job, new = _request(engine, publisher, JobKind.DRIFT, {}, "beat", f"drift {hour}")
    return job if new else None


def follow_with_training(session: Session, *, idempotency_key: str) -> Job | None:
    """Request training, or record that one is running, in the transaction that ends the features.

    Return the job to publish after the commit.
    """
    try:
        job, new = job_store.create(
            session,
            JobKind.TRAIN,
            requested_by="beat",
            params={"limit": None, "deploy": "gate", "only_if_new": True},
            idempotency_key=idempotency_key,
        )
    except AlreadyRunning as running:
        job_store.create_skipped(
            session,
            JobKind.TRAIN,
            requested_by="beat",
            reason=str(running),
            idempotency_key=idempotency_key,
        )
        return None
    return job if new else None


def _request(
    engine: Engine,
    publisher: JobPublisher,
    kind: JobKind,
    params: Mapping[str, Any],
    requested_by: str,
    idempotency_key: str | None,
    *,
    file: uploads.Upload | None = None,
) -> tuple[Job, bool]:
    """Commit the job's row, then publish it; return the job and whether it is new."""
    with transaction(engine) as session:
        if file:
            params = {**params, "import_id": uploads.store(session, file)}
        job, new = job_store.create(
            session,
            kind,
            requested_by=requested_by,
            params=params,
            idempotency_key=idempotency_key,
        )
    if new:
        publisher.publish([job])
    return job, new

"""Requests for work: one typed function for each kind of job.

A request is a committed row; its message is only a hint that there is one. A background thread
sends it, so no caller waits for the broker, and the workers send a lost one again
(`worker.execution.recovery`).

Every function here may raise Unavailable, when PostgreSQL does not answer; those that take an
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
    messenger: JobPublisher,
    *,
    requested_by: str,
    days: int | None,
    idempotency_key: str | None = None,
) -> Job:
    """Request the features of new and changed transactions of the last *days*; None means all."""
    params = {"days": days}
    return _request(engine, messenger, JobKind.FEATURES, params, requested_by, idempotency_key)[0]


def request_training(
    engine: Engine,
    messenger: JobPublisher,
    *,
    requested_by: str,
    limit: int | None,
    deploy: str,
    idempotency_key: str | None = None,
    only_if_new: bool = False,
    reason: str = "",
) -> Job:
    """Request a training run on the newest *limit* labels; `deploy` is `gate` or `never`.

    Args:
        only_if_new: skip it where no label or transaction has changed since the last version.
        reason: stored with the job.

    Raises:
        AlreadyRunning: a run is queued or running.
    """
    params: dict[str, Any] = {"limit": limit, "deploy": deploy}
    if only_if_new:
        params["only_if_new"] = True
    if reason:
        params["reason"] = reason
    return _request(engine, messenger, JobKind.TRAIN, params, requested_by, idempotency_key)[0]


def request_for_user(
    engine: Engine,
    messenger: JobPublisher,
    kind: Literal[JobKind.SUGGEST, JobKind.RULES],
    *,
    requested_by: str,
    user_id: str | None,
    idempotency_key: str | None = None,
) -> Job:
    """Request suggestions, or the rules' labels, for each transaction of a user that neither a
    person nor an import has labelled; None means all users.
    """
    return _request(engine, messenger, kind, {"user_id": user_id}, requested_by, idempotency_key)[0]


def request_import(
    engine: Engine,
    messenger: JobPublisher,
    *,
    requested_by: str,
    file: uploads.Upload,
    idempotency_key: str | None = None,
) -> Job:
    """Store a file, and request that its transactions are stored and suggested for.

    Nothing is stored if the request fails. A key counts as used for another request if the file or
    its options differ.
    """
    params = {"user_id": file.options.user}
    return _request(
        engine, messenger, JobKind.IMPORT, params, requested_by, idempotency_key, file=file
    )[0]


def request_nightly(engine: Engine, messenger: JobPublisher, *, night: str) -> Job | None:
    """Request the nightly features, after which training follows; None if already requested.

    *night* is the date of the slot in UTC: a second request for the same one changes nothing.
    """
    params = {"days": None, "then": "train"}
    job, new = _request(engine, messenger, JobKind.FEATURES, params, "beat", f"nightly {night}")
    return job if new else None


def request_drift(engine: Engine, messenger: JobPublisher, *, hour: str) -> Job | None:
    """Request a drift report of the last week; None if one was requested in this *hour*."""
    job, new = _request(engine, messenger, JobKind.DRIFT, {}, "beat", f"drift {hour}")
    return job if new else None


def follow_with_training(session: Session, *, idempotency_key: str) -> Job | None:
    """In the transaction that ends the nightly features: request training, or record why not.

    Return the job to announce once the transaction is committed.
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
    messenger: JobPublisher,
    kind: JobKind,
    params: Mapping[str, Any],
    requested_by: str,
    idempotency_key: str | None,
    *,
    file: uploads.Upload | None = None,
) -> tuple[Job, bool]:
    """Commit the job's row, then announce it; give the job and whether it is new."""
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
        messenger.publish([job])
    return job, new

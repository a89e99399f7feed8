"""The Celery tasks: a few lines each around functions that know nothing of Celery."""

from __future__ import annotations

import datetime as dt
from typing import Any

import structlog

from shared import model_retention
from shared.db.engine import transaction
from shared.db.tables import JobKind
from shared.errors import DamagedVersion, Unavailable
from shared.jobs import broker, heartbeats
from shared.jobs import requests as job_requests
from shared.jobs import store as job_store
from shared.log import get_logger
from shared.statements import uploads
from worker.drift import job as drift_job
from worker.execution import beat_heartbeat
from worker.execution.process_services import get_services
from worker.execution.runner import Work, run
from worker.features import job as feature_job
from worker.statements import import_job
from worker.suggestions import backfill_job, guardrail, rules_job
from worker.training import job as training_job

log = get_logger()
WORK: dict[JobKind, Work] = {
    JobKind.FEATURES: feature_job.build_features,
    JobKind.FEATURES_RANGE: feature_job.build_one_range,
    JobKind.TRAIN: training_job.train,
    JobKind.RULES: rules_job.apply_rules,
    JobKind.SUGGEST: backfill_job.run,
    JobKind.DRIFT: drift_job.run,
    JobKind.IMPORT: import_job.import_upload,
}


@broker.celery.task(name=broker.RUN_JOB)
def run_job(job_id: str) -> None:
    """Do the work of one job; a duplicate or late message does nothing."""
    services = get_services()
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        with transaction(services.engine) as session:
            claim = job_store.claim(session, job_id)
        if claim is not None:
            run(services, claim, WORK[claim.kind])


@broker.celery.task(name=broker.NIGHTLY)
def nightly() -> None:
    """Request tonight's features and training, once a night; remove what has expired.

    That is: uploads, and versions that may have learned from deleted users.
    """
    services = get_services()
    with transaction(services.engine) as session:
        uploads.delete_expired(session)
    job_requests.request_nightly(
        services.engine, services.publisher, night=dt.datetime.now(dt.UTC).date().isoformat()
    )
    try:
        with transaction(services.engine) as session:
            model_retention.retire(session, services.registry, services.settings)
    except (DamagedVersion, Unavailable) as error:  # the training requested above mends it
        log.warning("nightly.nothing_retired", reason=str(error))


@broker.celery.task(name=broker.GUARD)
def guard_rollout() -> None:
    """End a canary or a trial that does harm."""
    services = get_services()
    guardrail.check_guardrail(services.engine, services.settings)


@broker.celery.task(name=broker.WATCH)
def watch() -> None:
    """Request this hour's drift report, once an hour."""
    services = get_services()
    hour = dt.datetime.now(dt.UTC).isoformat(timespec="hours")[:13]
    job_requests.request_drift(services.engine, services.publisher, hour=hour)


@broker.celery.task(name=broker.PROBE, bind=True)
def probe(self: Any, name: str) -> None:
    """Store the heartbeat of the queue *name*: its probe has reached a worker."""
    with transaction(get_services().engine) as session:
        heartbeats.record(session, name, beat_heartbeat.read_sent_at(self.request))

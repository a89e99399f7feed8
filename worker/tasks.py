"""The tasks: shells of a few lines around functions that know nothing of Celery."""

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
    """Do the work of one job; a message that comes twice, or too late, does nothing."""
    own = get_services()
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        with transaction(own.engine) as session:
            claim = job_store.claim(session, job_id)
        if claim is not None:
            run(own, claim, WORK[claim.kind])


@broker.celery.task(name=broker.NIGHTLY)
def nightly() -> None:
    """Ask for tonight's features and training; of many ticks the first one counts.

    Files that were kept for long enough go, and versions that learned from deleted users.
    """
    own = get_services()
    with transaction(own.engine) as session:
        uploads.delete_expired(session)
    job_requests.request_nightly(
        own.engine, own.publisher, night=dt.datetime.now(dt.UTC).date().isoformat()
    )
    try:
        with transaction(own.engine) as session:
            model_retention.retire(session, own.registry, own.settings)
    except (DamagedVersion, Unavailable) as error:  # what is asked for above puts it right
        log.warning("nightly.nothing_retired", reason=str(error))


@broker.celery.task(name=broker.GUARD)
def guard_rollout() -> None:
    """End a canary or a trial that harms; most of the time there is nothing to do."""
    own = get_services()
    guardrail.check_guardrail(own.engine, own.settings)


@broker.celery.task(name=broker.WATCH)
def watch() -> None:
    """Ask for this hour's look at the traffic; of many ticks the first one counts."""
    own = get_services()
    hour = dt.datetime.now(dt.UTC).isoformat(timespec="hours")[:13]
    job_requests.request_drift(own.engine, own.publisher, hour=hour)


@broker.celery.task(name=broker.PROBE, bind=True)
def probe(self: Any, name: str) -> None:
    """Write down that a message of the queue *name* came through, and when it was sent."""
    with transaction(get_services().engine) as session:
        heartbeats.record(session, name, beat_heartbeat.read_sent_at(self.request))

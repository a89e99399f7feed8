"""The drift job: compares the last week of traffic with the reference of the live version.

It compares once for each new day of traffic, and then checks its earlier estimates of accuracy
against the labels that came since. Each hour it decides whether to train before the night.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.db.engine import transaction
from shared.db.tables import DriftReport
from shared.errors import AlreadyRunning, DamagedVersion, NotFound
from shared.features.extract import FeatureRow
from shared.jobs import requests as job_requests
from shared.jobs.store import Claim
from shared.log import get_logger
from shared.model.classifier import Model
from shared.registry.store import Registry
from shared.services import Services
from worker.drift import retraining
from worker.drift.profile import FILE, WEEK, DateRange, ReferenceProfile, newest_date, profile
from worker.execution.lease import Lease
from worker.execution.runner import Outcome

CHECKED_FOR = dt.timedelta(days=35)  # after a report; later labels do not change it
log = get_logger()

_LATER_LABELS = text(
    f"""
    SELECT l.label, {", ".join(f"f.{name}" for name in FeatureRow._fields)}
    FROM ml_features AS f JOIN transaction_labels AS l USING (txn_id)
    WHERE f.date >= :first AND f.date < :last AND l.source <> 'rule' AND l.updated_at > :since
    ORDER BY l.txn_id LIMIT 5000
    """  # noqa: S608  our own names
)


def run(services: Services, claim: Claim, lease: Lease) -> Outcome:
    """Compare, if there is a new day of traffic; then request training, or report why not."""
    lease.report("compare")
    try:
        alarms = report_drift(services)
    finally:  # new labels are counted even where the comparison breaks
        lease.report("decide")
        decision = _request_retraining(services)
    log.info("drift.watched", alarms=alarms, ask=decision["ask"], why=decision["why"])
    return Outcome({"alarms": alarms, "retrain": decision})


def _request_retraining(services: Services) -> dict[str, Any]:
    with transaction(services.engine) as session:
        decision = retraining.decide(session, services.registry, services.settings)
    job_id = None
    if decision.retrain:
        try:
            job_id = job_requests.request_training(
                services.engine,
                services.publisher,
                requested_by="drift",
                limit=None,
                deploy="gate",
                only_if_new=True,
                reason=decision.why,
            ).id
        except AlreadyRunning as running:
            decision = retraining.Decision(retrain=False, why=str(running))
    return {"ask": decision.retrain, "why": decision.why, "job_id": job_id}


def report_drift(services: Services) -> list[str] | None:
    """Store the report of the last week; return its alarms, None if there is no new day."""
    from worker.drift import comparison  # pandas: costs each start 30 MB

    engine, registry = services.engine, services.registry
    try:
        pointer = registry.current()
        if pointer is None:
            return None
        version = registry.load(pointer.run_id, pointer.manifest_sha256)
        model = Model.from_files(version.files)
    except (DamagedVersion, NotFound) as error:
        # Only a new version mends it, so this must not stop the request for one.
        log.warning("drift.version_damaged", reason=str(error))
        return None
    last = newest_date(engine)
    with transaction(engine) as session:
        _check_estimates(session, registry)
        done = select(DriftReport.id).where(
            DriftReport.run_id == pointer.run_id, DriftReport.window_end == last
        )
        if last is None or FILE not in version.files or session.scalar(done):
            return None
    reference = ReferenceProfile.from_file(version.files[FILE])
    span = DateRange(last - WEEK, last)
    window = profile(engine, span, model, learned=version.manifest.trained_through)
    checks = comparison.compare(reference, window)
    alarms = [check.check for check in checks if check.alarm]
    estimate = None
    if window.confidence is not None:
        estimate = comparison.estimated_accuracy(reference, window.confidence)
    values = {
        "run_id": pointer.run_id,
        "window_start": span.first,
        "window_end": span.last,
        "rows": window.rows,
        "checks": [check._asdict() for check in checks],
        "alarm": bool(alarms),
        "estimated_accuracy": estimate,
    }
    with transaction(engine) as session:
        session.execute(insert(DriftReport).values(values).on_conflict_do_nothing())
    return alarms


def _check_estimates(session: Session, registry: Registry) -> None:
    """Store the observed accuracy of each report, by the labels that came after the training.

    A report is checked with the version that was live then, as long as it is stored: most labels
    come when another one is live.
    """

    @cache
    def load(run_id: str) -> Model:
        return Model.from_files(registry.load(run_id).files)

    since = dt.datetime.now(dt.UTC) - CHECKED_FOR
    reports = select(DriftReport).where(DriftReport.created_at > since)
    trained = {
        it.run_id: it.manifest.trained_through for it in registry.versions() if not it.problem
    }
    for report in session.scalars(reports.order_by(DriftReport.id)).all():
        if report.run_id not in trained:
            continue
        window = {"first": report.window_start, "last": report.window_end}
        records = session.execute(_LATER_LABELS, {**window, "since": trained[report.run_id]}).all()
        if len(records) == report.labelled:
            continue
        try:
            model = load(report.run_id)
        except (DamagedVersion, NotFound) as error:  # removed or damaged since it was listed
            log.warning("drift.version_lost", run_id=report.run_id, reason=str(error))
            continue
        predictions = model.predict_many([FeatureRow(*values) for _, *values in records])
        right = sum(it.label == row[0] for it, row in zip(predictions, records, strict=True))
        report.labelled = len(records)
        report.accuracy = right / len(records) if records else None

"""The drift job: the last week of traffic beside the live version's reference, and what follows.

Each hour it looks whether training is needed before the night; once for each new day of traffic it
compares, and checks its earlier estimates of accuracy against the labels that have come since.
"""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import Any

from sqlalchemy import select, text, update
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
from worker.drift import retraining as retrain
from worker.drift.comparison import compare, estimated_accuracy
from worker.drift.profile import FILE, WEEK, DateRange, ReferenceProfile, newest_date, profile
from worker.execution.lease import Lease
from worker.execution.runner import Outcome

CHECKED_FOR = dt.timedelta(days=35)  # labels that come later change no report
log = get_logger()

_LATER_LABELS = text(
    f"""
    SELECT l.label, {", ".join(f"f.{name}" for name in FeatureRow._fields)}
    FROM ml_features AS f JOIN transaction_labels AS l USING (txn_id)
    WHERE f.date >= :first AND f.date < :last AND l.source <> 'rule' AND l.updated_at > :since
    ORDER BY l.txn_id LIMIT 5000
    """  # noqa: S608  our own names
)


def run(own: Services, claim: Claim, lease: Lease) -> Outcome:
    """Compare, if there is a new day to look at; then ask for training, or say why not."""
    lease.report("compare")
    try:
        alarms = report_drift(own)
    finally:  # new labels are counted even where the comparison breaks
        lease.report("decide")
        retraining = _retraining(own)
    log.info("drift.watched", alarms=alarms, ask=retraining["ask"], why=retraining["why"])
    return Outcome({"alarms": alarms, "retrain": retraining})


def _retraining(own: Services) -> dict[str, Any]:
    with transaction(own.engine) as session:
        decision = retrain.decide(session, own.registry, own.settings)
    job_id = None
    if decision.retrain:
        try:
            job_id = job_requests.request_training(
                own.engine,
                own.publisher,
                requested_by="drift",
                limit=None,
                deploy="gate",
                only_if_new=True,
                reason=decision.why,
            ).id
        except AlreadyRunning as running:
            decision = retrain.Decision(retrain=False, why=str(running))
    return {"ask": decision.retrain, "why": decision.why, "job_id": job_id}


def report_drift(own: Services) -> list[str] | None:
    """Write the report of the last week; give the checks with an alarm, None if nothing was new."""
    try:
        pointer = own.registry.current()
        if pointer is None:
            return None
        version = own.registry.load(pointer.run_id, pointer.manifest_sha256)
        model = Model.from_files(version.files)
    except (DamagedVersion, NotFound) as error:
        # Whoever trains a new version mends it; this must not keep him from being asked.
        log.warning("drift.version_damaged", reason=str(error))
        return None
    trained = version.manifest.trained_through
    last = newest_date(own.engine)
    with transaction(own.engine) as session:
        _check_estimates(session, own.registry)
        done = select(DriftReport.id).where(
            DriftReport.run_id == pointer.run_id, DriftReport.window_end == last
        )
        if last is None or FILE not in version.files or session.scalar(done):
            return None
    reference = ReferenceProfile.from_file(version.files[FILE])
    span = DateRange(last - WEEK, last)
    seen = profile(own.engine, span, model, learned=trained)
    checks = compare(reference, seen)
    alarms = [check.check for check in checks if check.alarm]
    sure = seen.confidence
    estimate = None if sure is None else estimated_accuracy(reference, sure)
    with transaction(own.engine) as session:
        session.execute(
            insert(DriftReport)
            .values(
                run_id=pointer.run_id,
                window_start=span.first,
                window_end=span.last,
                rows=seen.rows,
                checks=[check._asdict() for check in checks],
                alarm=bool(alarms),
                estimated_accuracy=estimate,
            )
            .on_conflict_do_nothing()
        )
    return alarms


def _check_estimates(session: Session, registry: Registry) -> None:
    """What share of a report's rows was right, by the labels that came after the training.

    Each report is of the version that was live then, which is asked as long as it is kept: most
    labels come when another one is live.
    """

    @cache
    def model(run_id: str) -> Model:
        return Model.from_files(registry.load(run_id).files)

    since = dt.datetime.now(dt.UTC) - CHECKED_FOR
    reports = select(DriftReport).where(DriftReport.created_at > since)
    kept = {it.run_id: it.manifest.trained_through for it in registry.versions() if not it.problem}
    for report in session.scalars(reports.order_by(DriftReport.id)).all():
        if report.run_id not in kept:
            continue
        told = session.execute(
            _LATER_LABELS,
            {"first": report.window_start, "last": report.window_end, "since": kept[report.run_id]},
        ).all()
        if len(told) == report.labelled:
            continue
        try:
            said = model(report.run_id).predict_many([FeatureRow(*row) for _, *row in told])
        except (DamagedVersion, NotFound) as error:  # removed or spoilt since it was listed
            log.warning("drift.version_lost", run_id=report.run_id, reason=str(error))
            continue
        right = sum(it.label == row[0] for it, row in zip(said, told, strict=True))
        session.execute(
            update(DriftReport)
            .where(DriftReport.id == report.id)
            .values(labelled=len(told), accuracy=right / len(told) if told else None)
        )

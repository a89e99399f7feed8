"""The retraining decision: whether to train before the night, and why, or why not."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db import labels
from shared.db.tables import DriftReport, Job, JobKind, JobState, LabelSource, TransactionLabel
from shared.monitoring import drift_metrics
from shared.registry.store import Registry
from shared.registry.train_report import is_deployed, is_skipped
from shared.settings import Settings

SHARE_NEW = 0.02  # of all labels, at least: with many, a few more change little
WAIT_FIRST = dt.timedelta(hours=6)  # after a refused run; twice as long after each further one
SKIPPED_FOR = dt.timedelta(days=1)  # no request after a run that had no new data
WAIT_MAX = dt.timedelta(days=7)
_MAX_RUNS = 20  # that are counted as refused in a row


class Decision(NamedTuple):
    """Whether to train now, and the reason."""

    retrain: bool
    why: str


def decide(session: Session, registry: Registry, settings: Settings) -> Decision:
    """Decide by the human labels since the newest version, and by drift of the live one."""
    if not settings.retrain_labels:
        return Decision(retrain=False, why="early training is off (ML_RETRAIN_LABELS=0)")
    need = _find_reason(session, registry, settings)
    if not need.retrain:
        return need
    if skipped := _last_skipped(session):
        why = f"{need.why}; but at {skipped:%Y-%m-%d %H:%M} UTC nothing had changed to learn from"
        return Decision(retrain=False, why=why)
    refused, last = _last_refused(session)
    if refused:
        until = last + min(WAIT_FIRST * 2 ** (refused - 1), WAIT_MAX)
        if until > dt.datetime.now(dt.UTC):
            why = f"{refused} runs in a row did not go live, so the next early one is not before"
            return Decision(retrain=False, why=f"{need.why}; but {why} {until:%Y-%m-%d %H:%M} UTC")
    return need


def _find_reason(session: Session, registry: Registry, settings: Settings) -> Decision:
    total = labels.count(session)
    newest = next((it for it in registry.versions() if not it.problem), None)
    if newest is None:
        needed = settings.min_labels
        why = f"no version yet, {total} labels of {needed} needed"
        return Decision(retrain=total >= needed, why=why)
    since = TransactionLabel.updated_at > newest.manifest.trained_through
    new = labels.count(session, TransactionLabel.source == LabelSource.HUMAN, since)
    enough = max(settings.retrain_labels, round(SHARE_NEW * total))
    why = f"{new} new labels of people, {enough} are enough"
    if new >= enough:
        return Decision(retrain=True, why=why)
    drifted, repeated = _alarms_since(session, registry, newest.created_at)
    if drifted:
        return Decision(retrain=True, why=f"drift of {', '.join(drifted)}")
    why += "; no drift"
    if repeated:
        why += f" but of {', '.join(repeated)}, since which there has been training"
    return Decision(retrain=False, why=why)


def _alarms_since(
    session: Session, registry: Registry, created_at: str
) -> tuple[list[str], list[str]]:
    """The alarms of the live version's newest report, if it is newer than *created_at*: the new
    ones, and those that another version's report of an overlapping week raised before.

    The reference of a new version leaves the newest week out, so that week raises the same alarm
    again. It must not bring training forward again.
    """
    report = drift_metrics.load_newest_report(session, registry)
    if report is None or report.created_at < dt.datetime.fromisoformat(created_at):
        return [], []
    overlapping = select(DriftReport).where(
        DriftReport.run_id != report.run_id,
        DriftReport.id < report.id,
        DriftReport.window_end > report.window_start,
    )
    before = {name for other in session.scalars(overlapping) for name in _alarms(other)}
    alarms = _alarms(report)
    return [it for it in alarms if it not in before], [it for it in alarms if it in before]


def _alarms(report: DriftReport) -> list[str]:
    return [check["check"] for check in report.checks if check["alarm"]]


def _last_skipped(session: Session) -> dt.datetime | None:
    """The end of the newest run, if it was skipped within SKIPPED_FOR and no label came since."""
    runs = select(Job).where(Job.kind == JobKind.TRAIN, Job.finished_at.is_not(None))
    newest = session.scalars(runs.order_by(Job.finished_at.desc()).limit(1)).one_or_none()
    ended = newest.finished_at if newest and is_skipped(newest.result) else None
    if ended is None or ended < dt.datetime.now(dt.UTC) - SKIPPED_FOR:
        return None
    return None if labels.count(session, TransactionLabel.updated_at > ended) else ended


def _last_refused(session: Session) -> tuple[int, dt.datetime]:
    """The number of newest runs in a row that did not go live, and the end of the last one."""
    runs = select(Job).where(
        Job.kind == JobKind.TRAIN, Job.state.in_([JobState.SUCCEEDED, JobState.FAILED])
    )
    newest = session.scalars(runs.order_by(Job.finished_at.desc()).limit(_MAX_RUNS))
    ended = [
        (is_deployed(job.result), job.finished_at)
        for job in newest
        if job.finished_at and not is_skipped(job.result) and job.params.get("deploy") != "never"
    ]
    refused = next((count for count, (live, _) in enumerate(ended) if live), len(ended))
    return refused, ended[0][1] if ended else dt.datetime.min.replace(tzinfo=dt.UTC)

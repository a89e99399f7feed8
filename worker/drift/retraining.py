"""Whether training is needed before the night, and why, or why not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
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
WAIT_FIRST = dt.timedelta(hours=6)  # after a run that was refused; twice as long after each other
SKIPPED_FOR = dt.timedelta(days=1)  # not asked again after a run that found nothing new
WAIT_MAX = dt.timedelta(days=7)
_LOOKED_AT = 20  # ended runs


class Decision(NamedTuple):
    """Whether to ask for training now, and the reason."""

    retrain: bool
    why: str


def decide(session: Session, registry: Registry, settings: Settings) -> Decision:
    """By the labels of people since the newest version, and by drift of the live one."""
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
        wait = min(WAIT_FIRST * 2 ** (refused - 1), WAIT_MAX)
        until = last + wait
        if until > dt.datetime.now(dt.UTC):
            return Decision(
                retrain=False,
                why=f"{need.why}; but {refused} runs in a row did not go live, so the next early "
                f"one is not before {until:%Y-%m-%d %H:%M} UTC",
            )
    return need


def _find_reason(session: Session, registry: Registry, settings: Settings) -> Decision:
    total = labels.count(session)
    newest = next((it for it in registry.versions() if not it.problem), None)
    if newest is None:
        needed = settings.min_labels
        why = f"no version yet, {total} labels of {needed} needed"
        return Decision(retrain=total >= needed, why=why)
    since = newest.manifest.trained_through
    by_people = TransactionLabel.source == LabelSource.HUMAN
    new = labels.count(session, by_people, TransactionLabel.updated_at > since)
    enough = max(settings.retrain_labels, round(SHARE_NEW * total))
    if new >= enough:
        return Decision(retrain=True, why=f"{new} new labels of people, {enough} are enough")
    drifted, known = _drifted(session, registry, newest.created_at)
    if drifted:
        return Decision(retrain=True, why=f"drift of {', '.join(drifted)}")
    why = f"{new} new labels of people, {enough} are enough; no drift"
    if known:
        why += f" but of {', '.join(known)}, since which there has been training"
    return Decision(retrain=False, why=why)


def _drifted(session: Session, registry: Registry, made: str) -> tuple[list[str], list[str]]:
    """The alarms of the live version's newest report, if it came after the newest version was made:
    those that are news, and those that another version's report of an overlapping week has raised.

    A new version's reference leaves the newest week out, so the same week raises the same alarm
    once more; were that news, it would bring training forward again and again.
    """
    report = drift_metrics.load_newest_report(session, registry)
    if report is None or report.created_at < dt.datetime.fromisoformat(made):
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
    """When the newest run ended, if it found nothing new, less than a day ago, and no label has
    come since."""
    runs = select(Job).where(Job.kind == JobKind.TRAIN, Job.finished_at.is_not(None))
    newest = session.scalars(runs.order_by(Job.finished_at.desc()).limit(1)).one_or_none()
    if newest is None or not newest.finished_at or not is_skipped(newest.result):
        return None
    if newest.finished_at < dt.datetime.now(dt.UTC) - SKIPPED_FOR:
        return None
    since = TransactionLabel.updated_at > newest.finished_at
    return None if labels.count(session, since) else newest.finished_at


def _last_refused(session: Session) -> tuple[int, dt.datetime]:
    """How many runs in a row have not gone live, and when the last of them ended."""
    ended = list(_last_ended(session))
    refused = next((n for n, (live, _) in enumerate(ended) if live), len(ended))
    return refused, ended[0][1] if ended else dt.datetime.min.replace(tzinfo=dt.UTC)


def _last_ended(session: Session) -> Iterator[tuple[bool, dt.datetime]]:
    """The newest runs that trained: whether they went live, and when they ended."""
    runs = select(Job).where(
        Job.kind == JobKind.TRAIN, Job.state.in_([JobState.SUCCEEDED, JobState.FAILED])
    )
    for job in session.scalars(runs.order_by(Job.finished_at.desc()).limit(_LOOKED_AT)):
        asked_not_to = job.params.get("deploy") == "never"
        if job.finished_at and not is_skipped(job.result) and not asked_not_to:
            yield is_deployed(job.result), job.finished_at

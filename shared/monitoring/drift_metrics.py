"""The newest drift report of the live version, and what /metrics tells of it."""

from __future__ import annotations

import datetime as dt

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.db.tables import DriftReport
from shared.errors import DamagedVersion
from shared.registry.store import Registry

INPUTS = (
    "amount", "direction", "channel", "weekend", "hour", "subscription", "currency", "words",
    "new_merchant",
)  # fmt: skip
ANSWERS = ("category", "confidence")
CHECKS = (*INPUTS, *ANSWERS)


COUNTS_FOR = dt.timedelta(days=8)  # a week and a day: then its traffic is none of the last week's


def load_newest_report(session: Session, registry: Registry) -> DriftReport | None:
    """Of the version that is live now; None without one that is recent."""
    try:
        live = registry.current()
    except DamagedVersion:
        return None
    if live is None:
        return None
    reports = select(DriftReport).where(
        DriftReport.run_id == live.run_id,
        DriftReport.created_at > dt.datetime.now(dt.UTC) - COUNTS_FOR,
    )
    return session.scalars(reports.order_by(DriftReport.id.desc()).limit(1)).one_or_none()


def collect(session: Session, registry: Registry) -> list[Metric]:
    """Of that report; without one, no alarm."""
    report = load_newest_report(session, registry)
    found = {check["check"]: check for check in report.checks} if report else {}
    alarm = GaugeMetricFamily(
        "lm_drift_alarm", "1: the last week differs from the reference", labels=["check"]
    )
    psi = GaugeMetricFamily(
        "lm_drift_psi", "Population stability index of the last week", labels=["check"]
    )
    for check in CHECKS:
        alarm.add_metric([check], float(found[check]["alarm"]) if check in found else 0.0)
        if check in found:
            psi.add_metric([check], found[check]["psi"])
    if report is None:
        return [alarm]
    rows = GaugeMetricFamily("lm_drift_rows", "Rows of the last week looked at", value=report.rows)
    accuracy = GaugeMetricFamily(
        "lm_drift_accuracy",
        "Accuracy on the last week: estimated without a label, and observed on the labels since",
        labels=["kind"],
    )
    for kind, value in (("estimated", report.estimated_accuracy), ("observed", report.accuracy)):
        if value is not None:
            accuracy.add_metric([kind], value)
    made = GaugeMetricFamily(
        "lm_drift_report_timestamp_seconds",
        "When the newest report was made",
        value=report.created_at.timestamp(),
    )
    return [alarm, psi, rows, accuracy, made]

"""Metrics of the newest drift report of the live version."""

from __future__ import annotations

import datetime as dt

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import model_retention
from shared.db.tables import DriftReport
from shared.monitoring.families import gauge
from shared.registry.store import Registry

INPUTS = (
    "amount", "direction", "channel", "weekend", "hour", "subscription", "currency", "words",
    "new_merchant",
)  # fmt: skip
ANSWERS = ("category", "confidence")
CHECKS = (*INPUTS, *ANSWERS)
MAX_AGE = dt.timedelta(days=8)  # an older report covers nothing of the last week


def load_newest_report(session: Session, registry: Registry) -> DriftReport | None:
    """Return the newest report of the live version; None without one of the last MAX_AGE."""
    reports = select(DriftReport).where(
        DriftReport.run_id == model_retention.live(registry),
        DriftReport.created_at > dt.datetime.now(dt.UTC) - MAX_AGE,
    )
    return session.scalars(reports.order_by(DriftReport.id.desc()).limit(1)).one_or_none()


def collect(session: Session, registry: Registry) -> list[Metric]:
    """Return the metrics of that report; without one, all alarms are off."""
    report = load_newest_report(session, registry)
    checks = {check["check"]: check for check in report.checks} if report else {}
    alarm = gauge(
        "lm_drift_alarm",
        "1: the last week differs from the reference",
        ["check"],
        {(name,): float(name in checks and checks[name]["alarm"]) for name in CHECKS},
    )
    if report is None:
        return [alarm]
    accuracy = {("estimated",): report.estimated_accuracy, ("observed",): report.accuracy}
    return [
        alarm,
        gauge(
            "lm_drift_psi",
            "Population stability index of the last week",
            ["check"],
            {(name,): checks[name]["psi"] for name in CHECKS if name in checks},
        ),
        GaugeMetricFamily("lm_drift_rows", "Rows of the last week looked at", value=report.rows),
        gauge(
            "lm_drift_accuracy",
            "Accuracy on the last week: estimated without a label, and observed on the labels "
            "since",
            ["kind"],
            {kind: value for kind, value in accuracy.items() if value is not None},
        ),
        GaugeMetricFamily(
            "lm_drift_report_timestamp_seconds",
            "When the newest report was made",
            value=report.created_at.timestamp(),
        ),
    ]

"""What the dashboard shows, gathered; with PostgreSQL away, what the registry alone tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from shared.db.engine import transaction
from shared.errors import LedgerError, Unavailable
from shared.experiments import arm_statistics, traffic_split, verdicts
from shared.jobs import store as job_store
from shared.monitoring import drift_metrics
from shared.services import Services
from web.models import versions

SHOWN_JOBS = 8
SHOWN_CLASSES = 20

_COUNTS = text(
    """
    SELECT (SELECT count(*) FROM transactions WHERE deleted_at IS NULL) AS transactions,
        (SELECT count(*) FROM ml_features) AS features,
        (SELECT count(*) FROM suggestions) AS suggestions,
        (SELECT count(*) FROM suggestion_answers WHERE undone_at IS NULL) AS answers
    """
)
_LABELS = text("SELECT source, count(*) FROM transaction_labels GROUP BY 1 ORDER BY 2 DESC")


def load_summary(own: Services) -> dict[str, Any]:
    """What is quickly known; `counted` has the rest of the page."""
    found = {**_of_models(own), "away": False}
    try:
        with transaction(own.engine) as session:
            found |= {
                "jobs": job_store.list_newest(session, limit=SHOWN_JOBS),
                "rollout": traffic_split.current(session, own.settings),
                "drift": drift_metrics.load_newest_report(session, own.registry),
            }
    except Unavailable:
        found["away"] = True
    return found


def load_counts(own: Services) -> dict[str, Any]:
    """What has to be counted, which takes longer the more there is.

    Raises:
        Unavailable: PostgreSQL does not answer.
    """
    with transaction(own.engine) as session:
        now = traffic_split.current(session, own.settings)
        arms = arm_statistics.load_statistics(session, arm_statistics.evidence_start(now))
        return {
            "counts": session.execute(_COUNTS).mappings().one(),
            "labels": session.execute(_LABELS).all(),
            "arms": arms,
            "verdicts": verdicts.compare_with_control(now, arms),
        }


def _of_models(own: Services) -> dict[str, Any]:
    listed = versions.list_versions(own.registry)
    live = next((it for it in listed if it["live"]), None)
    report: Mapping[str, Any] = {}
    if live:
        try:
            report = versions.version_detail(own.registry, live["run_id"])["report"] or {}
        except LedgerError:
            report = {}
    classes = sorted(report.get("classes") or [], key=lambda it: -it["support"])
    return {
        "live": live,
        "versions": listed[:10],
        "report": report,
        "classes": classes[:SHOWN_CLASSES],
        "can_roll_back": len(own.registry.rollback_stack()) > 1,
    }

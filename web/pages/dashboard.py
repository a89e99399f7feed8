"""Data of the dashboard; while PostgreSQL is down, that of the registry alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import text

from shared.db.engine import transaction
from shared.errors import LedgerError, Unavailable
from shared.experiments import arm_statistics, traffic_split, verdicts
from shared.jobs import store as job_store
from shared.monitoring import drift_metrics
from shared.registry.store import Registry
from shared.services import Services
from web.models import views as model_views
from web.pages import charts

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


def load_summary(services: Services) -> dict[str, Any]:
    """What is quickly read; `load_counts` has the rest of the page."""
    summary = _summarize_models(services.registry)
    try:
        with transaction(services.engine) as session:
            return summary | {
                "away": False,
                "jobs": job_store.list_newest(session, limit=SHOWN_JOBS),
                "rollout": traffic_split.current(session, services.settings),
                "drift": drift_metrics.load_newest_report(session, services.registry),
            }
    except Unavailable:
        return summary | {"away": True}


def load_counts(services: Services) -> dict[str, Any]:
    """Counts over whole tables, which take longer as these grow; Unavailable without PostgreSQL."""
    with transaction(services.engine) as session:
        split = traffic_split.current(session, services.settings)
        arms = arm_statistics.load_statistics(session, arm_statistics.evidence_start(split))
        return {
            "counts": session.execute(_COUNTS).mappings().one(),
            "labels": session.execute(_LABELS).all(),
            "arms": arms,
            "verdicts": verdicts.compare_with_control(split, arms),
        }


def _summarize_models(registry: Registry) -> dict[str, Any]:
    listed = model_views.list_versions(registry)
    live = next((version for version in listed if version.live), None)
    report: Mapping[str, Any] = {}
    if live:
        with suppress(LedgerError):
            report = model_views.version_detail(registry, live.run_id).report or {}
    return {
        "live": live,
        "versions": listed[:10],
        "report": report,
        "classes": charts.most_frequent(report)[:SHOWN_CLASSES],
        "can_roll_back": len(registry.rollback_stack()) > 1,
    }

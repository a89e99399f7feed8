"""Metrics of suggestions: the traffic split, and how users answered in each arm."""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.db.tables import Action, Arm
from shared.monitoring.families import counter, gauge, query_samples

_SHARES = text("SELECT canary, trial FROM rollout_changes ORDER BY id DESC LIMIT 1")
# The arm that the guardrail ended is the one that its change took away.
_TRIPS = text(
    """
    SELECT CASE WHEN before IS DISTINCT FROM challenger THEN 'challenger' ELSE 'model' END, count(*)
    FROM (
        SELECT action, challenger, lag(challenger) OVER (ORDER BY id) AS before FROM rollout_changes
    ) AS change WHERE action = 'guardrail' GROUP BY 1
    """
)
_ANSWERS = text(
    """
    SELECT arm, answer, count(*) FROM (
        SELECT arm, answer FROM suggestions
        WHERE answer IS NOT NULL AND label IS NOT NULL AND NOT forced
            AND created_at >= now() - interval '28 days'
        ORDER BY created_at DESC LIMIT 100000
    ) AS newest GROUP BY 1, 2
    """
)


def collect_traffic_split(session: Session, default_canary: float) -> list[Metric]:
    """Return the shares of the arms, and how often the guardrail ended one."""
    canary, trial = session.execute(_SHARES).one_or_none() or (default_canary, 0.0)
    return [
        GaugeMetricFamily(
            "lm_suggest_canary_share", "Share of users in the model arm, 0 to 1", value=canary
        ),
        GaugeMetricFamily(
            "lm_suggest_trial_share",
            "Share of users in the arm of the version on trial",
            value=trial,
        ),
        counter(
            "lm_suggest_guardrail_trips",
            "Arms that the guardrail ended",
            ["arm"],
            query_samples(session, _TRIPS, (Arm.MODEL, Arm.CHALLENGER)),
        ),
    ]


def collect_answers(session: Session) -> Metric:
    """Return the number of answers by arm; the query reads up to 100,000 rows."""
    return gauge(
        "lm_suggest_answers",
        "Answers to labels suggested in the last 28 days, of the newest 100,000",
        ["arm", "answer"],
        query_samples(session, _ANSWERS, Arm, Action),
    )

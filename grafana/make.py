"""Generator of the Grafana dashboards: `python grafana/make.py`. A test compares the files.

A panel is a title, a unit and its queries with their legends; all else is the same for each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
S, SHARE, RATE, COUNT, AGE = "s", "percentunit", "reqps", "short", "s"
Panel = tuple[str, str, dict[str, str]]  # title, unit, legend: query

_LATENCY = "lm_ml_predict_latency_seconds_bucket"
_PHASE = "lm_request_phase_seconds"


def _quantile(share: float, metric: str, by: str = "le") -> str:
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}[5m])))"


def _phases(request: str) -> str:
    chosen = f'request="{request}"'
    return (
        f"sum by (phase) (rate({_PHASE}_sum{{{chosen}}}[5m]))"
        f" / sum by (phase) (rate({_PHASE}_count{{{chosen}}}[5m]))"
    )


def _answers(answer: str, arms: str = ".*") -> str:
    return f'max by (arm) (lm_suggest_answers{{answer="{answer}", arm=~"{arms}"}})'


_ANSWERED = "sum by (arm) (max by (arm, answer) (lm_suggest_answers))"

SERVICE: list[Panel] = [
    ("Web processes that answer", COUNT, {"{{instance}}": 'up{job="web"}'}),
    (
        "Answers by class of status",
        RATE,
        {"{{status}}": "sum by (status) (rate(lm_http_requests_total[5m]))"},
    ),
    (
        "Calls for predictions",
        RATE,
        {
            "model there: {{available}}": "sum by (available) "
            "(rate(lm_ml_predict_requests_total[5m]))"
        },
    ),
    (
        "Time of a prediction",
        S,
        {"p50": _quantile(0.5, _LATENCY), "p95": _quantile(0.95, _LATENCY)},
    ),
    ("Phases of predict, mean", S, {"{{phase}}": _phases("predict")}),
    ("Phases of suggest, mean", S, {"{{phase}}": _phases("suggest")}),
    (
        "Jobs open",
        COUNT,
        {"{{kind}} {{state}}": "max by (kind, state) (lm_jobs_open) > 0"},
    ),
    (
        "Oldest job in the queue",
        AGE,
        {"{{queue}}": "max by (queue) (lm_queue_oldest_job_seconds)"},
    ),
    (
        "Since a worker took something, since the beat ticked",
        AGE,
        {
            "{{queue}}": "time() - max by (queue) (lm_queue_consumed_timestamp_seconds)",
            "beat": "time() - max(lm_beat_last_tick_timestamp_seconds)",
            "facts read": "time() - max(lm_facts_read_timestamp_seconds)",
        },
    ),
    (
        "Round trip through broker and worker",
        S,
        {"{{queue}}": "max by (queue) (lm_queue_round_trip_seconds)"},
    ),
    (
        "Jobs that ended in a day",
        COUNT,
        {"{{kind}} {{state}}": "max by (kind, state) (increase(lm_jobs_ended_total[1d])) > 0"},
    ),
    (
        "Time in the queue and at work, p95 of a week",
        S,
        {
            "queue {{kind}}": "histogram_quantile(0.95, max by (kind, le) "
            "(increase(lm_jobs_queue_seconds_bucket[7d])))",
            "work {{kind}}": "histogram_quantile(0.95, max by (kind, le) "
            "(increase(lm_jobs_run_seconds_bucket[7d])))",
        },
    ),
]

QUALITY: list[Panel] = [
    ("Macro-F1 of the last run", SHARE, {"F1": "max(lm_ml_train_val_f1_macro)"}),
    (
        "Training runs by outcome, a week",
        COUNT,
        {"{{status}}": "max by (status) (increase(lm_ml_train_runs_total[7d]))"},
    ),
    (
        "Since a run ended",
        AGE,
        {"{{status}}": "time() - max by (status) (lm_ml_train_last_finished_timestamp_seconds)"},
    ),
    (
        "Processes by state of their live model",
        COUNT,
        {"{{process}} {{state}}": "sum by (process, state) (lm_model_processes)"},
    ),
    (
        "Age of the model answered with",
        AGE,
        {"{{process}} {{event}}": "time() - min by (process, event) (lm_model_timestamp_seconds)"},
    ),
    (
        "Deploy answered with, lowest",
        COUNT,
        {"{{process}}": "min by (process) (lm_model_sequence)"},
    ),
    (
        "Reloads by outcome, a day",
        COUNT,
        {"{{outcome}}": "sum by (outcome) (increase(lm_ml_model_reloads_total[1d]))"},
    ),
    (
        "Rules and model disagree",
        SHARE,
        {
            "of what both answered": 'sum(rate(lm_suggest_compare_total{agree="false"}[1h]))'
            ' / sum(rate(lm_suggest_compare_total{agree=~"true|false"}[1h]))'
        },
    ),
    (
        "Suggestions by source",
        RATE,
        {"{{source}}": "sum by (source) (rate(lm_suggest_source_total[5m]))"},
    ),
    (
        "Failures of the model that is only compared, a day",
        COUNT,
        {"failures": "sum(increase(lm_suggest_shadow_errors_total[1d]))"},
    ),
]

CANARY: list[Panel] = [
    (
        "Share of users",
        SHARE,
        {"model": "max(lm_suggest_canary_share)", "on trial": "max(lm_suggest_trial_share)"},
    ),
    ("Accepted, 28 days", SHARE, {"{{arm}}": f"{_answers('accept')} / {_ANSWERED}"}),
    ("Corrected, 28 days", SHARE, {"{{arm}}": f"{_answers('correct')} / {_ANSWERED}"}),
    ("Rejected, 28 days", SHARE, {"{{arm}}": f"{_answers('reject')} / {_ANSWERED}"}),
    ("Answers, 28 days", COUNT, {"{{arm}}": _ANSWERED}),
    (
        "Arms ended by the guardrail, a week",
        COUNT,
        {"{{arm}}": "max by (arm) (increase(lm_suggest_guardrail_trips_total[7d]))"},
    ),
    (
        "Loads of the version on trial, a day",
        COUNT,
        {"{{outcome}}": "sum by (outcome) (increase(lm_suggest_challenger_loads_total[1d]))"},
    ),
]

DRIFT: list[Panel] = [
    ("Alarms", COUNT, {"{{check}}": "max by (check) (lm_drift_alarm)"}),
    ("Population stability index", COUNT, {"{{check}}": "max by (check) (lm_drift_psi)"}),
    ("Accuracy of the last week", SHARE, {"{{kind}}": "max by (kind) (lm_drift_accuracy)"}),
    ("Rows of the last week", COUNT, {"rows": "max(lm_drift_rows)"}),
    (
        "Suggestions without a label",
        SHARE,
        {
            "asked": 'sum(rate(lm_suggest_source_total{source="none"}[1h]))'
            " / sum(rate(lm_suggest_source_total[1h]))"
        },
    ),
]

BOARDS: dict[str, tuple[str, list[Panel]]] = {
    "service": ("Ledger: service", SERVICE),
    "model": ("Ledger: model quality", QUALITY),
    "canary": ("Ledger: canary", CANARY),
    "drift": ("Ledger: drift", DRIFT),
}


def board(name: str) -> dict[str, Any]:
    """One dashboard as Grafana reads it."""
    title, panels = BOARDS[name]
    return {
        "uid": f"ledger-{name}",
        "title": title,
        "tags": ["ledger"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "panels": [_panel(number, *panel) for number, panel in enumerate(panels)],
    }


def _panel(number: int, title: str, unit: str, queries: dict[str, str]) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": query, "legendFormat": legend}
            for at, (legend, query) in enumerate(queries.items())
        ],
    }


def text(name: str) -> str:
    """The file's content."""
    return json.dumps(board(name), indent=2) + "\n"


if __name__ == "__main__":
    for name in BOARDS:
        (HERE / f"{name}.json").write_text(text(name))

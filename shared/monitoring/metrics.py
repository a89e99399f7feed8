"""The lm_* metrics that processes count themselves: requests, predictions, suggestions, loads.

They are summed over all processes (`shared.monitoring.multiprocess`). What stands in tables is read
at the scrape instead (`shared.monitoring.database_collector`). Label values come from closed sets.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter as Tally
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Literal

from prometheus_client import Counter, Gauge, Histogram

from shared.db.tables import Arm
from shared.monitoring import multiprocess
from shared.registry.live_model import LoadedModel, Outcome

multiprocess.install()
PREDICT_REQUESTS = Counter(
    "lm_ml_predict_requests_total",
    "Calls for predictions, a batch being one, by whether a model was there to answer",
    ["available"],
)
EMPTY_PREDICTIONS = Counter(
    "lm_ml_predict_empty_total",
    "Predictions without a category: there was none that the user may be told",
)
PREDICT_LATENCY = Histogram(
    "lm_ml_predict_latency_seconds",
    "Time from a parsed request to its prediction; a batch is one observation",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
)
MODEL_RELOADS = Counter(
    "lm_ml_model_reloads_total", "Attempts of a process to follow a deploy", ["outcome"]
)
CHALLENGER_LOADS = Counter(
    "lm_suggest_challenger_loads_total",
    "Attempts of a process to load the version on trial",
    ["outcome"],
)
PHASES = Histogram(
    "lm_request_phase_seconds",
    "Time of the phases of a request: looking up what is stored, features, model, storing",
    ["request", "phase"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0),
)
MODEL_PROCESSES = Gauge(
    "lm_model_processes",
    "Processes by state: live, the deployed version is served; refused, it could not be loaded and "
    "an older one or none is served; none, there is no version",
    ["process", "state"],
    multiprocess_mode="livesum",
)
MODEL_SEQUENCE = Gauge(
    "lm_model_sequence",
    "Sequence number of the deploy that a process answers with; the lowest of all",
    ["process"],
    multiprocess_mode="livemin",
)
MODEL_TIMES = Gauge(
    "lm_model_timestamp_seconds",
    "When the model that a process answers with was made and deployed; the earliest of all",
    ["process", "event"],
    multiprocess_mode="livemin",
)
HTTP_REQUESTS = Counter(
    "lm_http_requests_total", "Answers by route and class of status", ["route", "status"]
)
SUGGEST_COMPARE = Counter(
    "lm_suggest_compare_total",
    "Suggestions by whether rules and model agree; none: one of them had nothing to say",
    ["agree"],
)
SUGGEST_SOURCE = Counter("lm_suggest_source_total", "Suggestions by what gave them", ["source"])
SHADOW_ERRORS = Counter(
    "lm_suggest_shadow_errors_total", "Calls in which the model that is only compared failed"
)
MODEL_ERRORS = Counter(
    "lm_suggest_model_errors_total",
    "Calls in which the model of an arm failed, and rules and memory answered",
    ["arm"],
)
# Alerts need each series from the first scrape on.
for _metric, _values in (
    (MODEL_ERRORS, (Arm.MODEL.value, Arm.CHALLENGER.value)),
    (SUGGEST_COMPARE, ("true", "false", "none")),
    (SUGGEST_SOURCE, ("rule", "memory", "model", "none")),
    (PREDICT_REQUESTS, ("true", "false")),
    (MODEL_RELOADS, ("loaded", "refused", "missing")),
    (CHALLENGER_LOADS, ("loaded", "refused", "missing")),
):
    for _value in _values:
        _metric.labels(_value)
for _phase in ("lookup", "features", "model"):
    PHASES.labels("predict", _phase)
    PHASES.labels("suggest", _phase)
PHASES.labels("suggest", "store")


@lru_cache(maxsize=1_024)
def _child(metric: Any, *values: str) -> Any:
    """The series of *metric* with these labels; finding it takes 2 µs, four times a request."""
    return metric.labels(*values)


def count_request(route: str, status: int) -> None:
    """Count one response of a web process."""
    _child(HTTP_REQUESTS, route, f"{status // 100}xx").inc()


def count_prediction(*, available: bool, seconds: float, empty: int = 0) -> None:
    """Count one call for predictions, *empty* of which have no category."""
    _child(PREDICT_REQUESTS, "true" if available else "false").inc()
    if empty:
        EMPTY_PREDICTIONS.inc(empty)
    PREDICT_LATENCY.observe(seconds)


def count_model_failure(arm: Arm) -> None:
    """Count a call in which the model of *arm* failed; in the arm of the rules it is the shadow."""
    if arm is Arm.RULES:
        SHADOW_ERRORS.inc()
    else:
        MODEL_ERRORS.labels(arm.value).inc()


def count_suggestions(answers: Iterable[tuple[str, str | None, str | None]]) -> None:
    """Count suggestions by source, and by whether rules and model agree.

    Args:
        answers: source, label of the rules and label of the model of each.
    """
    sources: Tally[str] = Tally()
    agreed: Tally[str] = Tally()
    for source, rules_label, model_label in answers:
        sources[source] += 1
        both = rules_label is not None and model_label is not None
        agreed[str(rules_label == model_label).lower() if both else "none"] += 1
    for source, times in sources.items():
        SUGGEST_SOURCE.labels(source).inc(times)
    for agree, times in agreed.items():
        SUGGEST_COMPARE.labels(agree).inc(times)


def time_phase(request: Literal["predict", "suggest"], name: str) -> AbstractContextManager[object]:
    """Time one phase of a request, also one that fails."""
    timer: AbstractContextManager[object] = _child(PHASES, request, name).time()
    return timer


def record_reload(process: str, outcome: Outcome, served: LoadedModel | None) -> None:
    """Count one attempt to load the deployed version, and set the gauges of the live model.

    Args:
        process: `web` or `worker`.
        outcome: how the attempt ended.
        served: the model that this process serves after it.
    """
    MODEL_RELOADS.labels(outcome).inc()
    gone = outcome == "missing" and served is None
    now = "live" if outcome == "loaded" else "none" if gone else "refused"
    for state in ("live", "refused", "none"):
        MODEL_PROCESSES.labels(process, state).set(state == now)
    if served:
        MODEL_SEQUENCE.labels(process).set(served.deployment.sequence)
        for event, at in (
            ("made", served.manifest.created_at),
            ("deployed", served.deployment.at),
        ):
            MODEL_TIMES.labels(process, event).set(dt.datetime.fromisoformat(at).timestamp())


def count_challenger_load(outcome: str) -> None:
    """Count one attempt to load the version on trial."""
    CHALLENGER_LOADS.labels(outcome).inc()

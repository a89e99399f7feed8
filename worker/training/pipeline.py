"""A training run: reads the labelled rows, fits and evaluates a model, and stores a version.

The rows are split by time. The model is trained on the first, calibrated on the latest of these,
and evaluated on the last fifth, by which the gate decides. The stored version is the same model
with its candidate generator refitted on all rows, so that it knows yesterday's corrections; the
scores are those of the evaluated model. Nothing is deployed here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import pandas as pd
from sqlalchemy import Engine

from shared import model_retention
from shared.db.engine import transaction
from shared.errors import DamagedVersion, NotEnoughLabels, NotFound
from shared.log import get_logger
from shared.model.classifier import Model, Prediction
from shared.registry.deployments import Deployment
from shared.registry.store import Registry, new_run_id
from shared.registry.train_report import EvaluationReport, GateDecision, SkippedRun, TrainReport
from worker.drift import profile as drift_profile
from worker.evaluation import feature_importance, promotion_gate
from worker.evaluation import report as evaluation_report
from worker.features import build, merchant_priors
from worker.training import dataset, fit
from worker.training.open_labels import LabelSharing
from worker.training.parallel import Progress

ONE_LABEL = "All labelled transactions have one category; the model can give no other."
log = get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """The parameters of a run."""

    job_id: str
    limit: int | None  # labelled transactions to train on, the newest; None: all
    only_if_new: bool  # skip the run if nothing has changed since the newest version
    min_labels: int  # labelled transactions that a run needs
    threshold_f1: float  # the least macro-F1 with which the gate passes, 0..1
    target_precision: float = 0.9  # share of the shown suggestions that should be right, 0..1
    sharing: LabelSharing = fit.EVERYBODY  # which labels are open
    retire_days: int = 30  # how long a version that learned from a deleted user may stay


def run(
    engine: Engine, registry: Registry, request: TrainRequest, report_progress: Progress
) -> TrainReport | SkippedRun:
    """Train a model and store it as a version; with `only_if_new`, skip that if there is no need.

    Args:
        report_progress: called at each step; what it raises ends the run.

    Raises:
        NotEnoughLabels: fewer than `min_labels` transactions are labelled, and the run was not
            `only_if_new`.
    """
    _update_features(engine, request.sharing.users, report_progress)
    fingerprint = dataset.fingerprint(engine, limit=request.limit)
    if request.only_if_new and not _is_needed(engine, registry, fingerprint, request.retire_days):
        return SkippedRun("no label or transaction has changed since the last run")
    report_progress("load", 0, 0)
    read_at = dt.datetime.now(dt.UTC)
    data = dataset.load(engine, limit=request.limit)
    if len(data) < request.min_labels:
        message = f"{len(data)} labelled transactions found, {request.min_labels} needed"
        if request.only_if_new:  # a night before users have begun is no failure
            return SkippedRun(message)
        raise NotEnoughLabels(message, found=len(data), needed=request.min_labels)
    train, held_out = dataset.split_by_time(data)
    models = fit.fit_and_refit(
        data["row"].tolist(),
        data["label"].tolist(),
        learned=len(train),
        target_precision=request.target_precision,
        sharing=request.sharing,
        progress=report_progress,
    )
    report_progress("evaluate", 0, 0)
    open_labels = _open_labels(models.judged, train, request.sharing)
    predictions, evaluation = _evaluate(models.judged, train, held_out, open_labels)
    # Read as late as can be: another version may be live by now.
    live = _live(engine, registry, request.retire_days)
    groups = evaluation_report.group_users(train["row"], held_out["row"])
    table = held_out.assign(new=[it.label for it in predictions], group=groups)
    comparison = _compare_with_live(registry, live, table, open_labels)
    verdict = promotion_gate.decide_promotion(
        evaluation, threshold_f1=request.threshold_f1, live=comparison
    )
    report_progress("save", 0, 0)
    report = _summarize(models, evaluation, verdict, live.sequence)
    importance = feature_importance.feature_importance(models.judged)
    reference = drift_profile.build_reference(
        engine, models.judged, train["row"], predictions, held_out["label"]
    )
    meta = {
        **report.to_meta(),
        "job_id": request.job_id,
        "report": {**asdict(evaluation), "leans_on": importance},
        "data_fingerprint": fingerprint,
        "trained_through": max(data["labelled_at"]).isoformat(),
        "read_at": read_at.isoformat(),
    }
    files = {**models.stored.to_files(), drift_profile.FILE: reference.to_file()}
    registry.save(files, meta, run_id=report.run_id)
    log.info("train.stored", run_id=report.run_id, gate_passed=verdict.passed)
    return report


def _update_features(engine: Engine, min_users: int, report_progress: Progress) -> None:
    report_progress("features", 0, 0)
    labelled = build.Scope(labelled=True)
    build.build_pending(
        engine, labelled, progress=lambda done: report_progress("features", done, 0)
    )
    merchant_priors.refresh(engine, min_users)


def _evaluate(
    model: Model,
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    open_labels: Sequence[str] | None,
) -> tuple[list[Prediction], EvaluationReport]:
    rows = held_out["row"].tolist()
    predictions, linear = feature_importance.predict_with_baseline(model, rows)
    report = evaluation_report.evaluate(
        rows,
        held_out["label"].tolist(),
        predictions,
        learned_rows=train["row"].tolist(),
        learned_labels=train["label"].tolist(),
        linear=linear,
        open_labels=open_labels,
    )
    return predictions, report


def _open_labels(
    model: Model, train: pd.DataFrame, sharing: LabelSharing
) -> tuple[str, ...] | None:
    """Those of the evaluation; None where all are, labels that come later, too."""
    if sharing.users == 1 or not any(row.user_id for row in train["row"]):
        return None
    return model.open_labels


def _summarize(
    models: fit.FitResult,
    evaluation: EvaluationReport,
    gate: GateDecision,
    live_sequence: int | None,
) -> TrainReport:
    labels, metadata = models.stored.labels, models.judged.metadata
    return TrainReport(
        run_id=new_run_id(),
        val_f1_macro=evaluation.f1_macro,
        val_accuracy=evaluation.accuracy,
        class_count=len(labels),
        train_size=metadata["rows"],
        calibrate_size=metadata["calibrate_rows"],
        val_size=evaluation.rows,
        baselines=evaluation.baselines,
        ceiling=evaluation.ceiling,
        coverage_at_95=evaluation.coverage_at_95,
        gate=gate,
        warnings=[ONE_LABEL] if len(labels) == 1 else [],
        live_sequence=live_sequence,
    )


class Live(NamedTuple):
    """The deployed version."""

    pointer: Deployment | None  # None without one, or with a damaged pointer
    sequence: int | None  # what a deployment must find; None, of a damaged pointer, is any
    is_retiring: bool = False  # whether any version that reaches the threshold may replace it


def _live(engine: Engine, registry: Registry, retire_days: int) -> Live:
    try:
        pointer = registry.current()
    except DamagedVersion as error:
        log.warning("gate.pointer_damaged", reason=str(error))
        return Live(None, None)
    if pointer is None:
        return Live(None, 0)
    with transaction(engine) as session:
        retire_by = model_retention.retirement_due(session, registry.versions(), retire_days)
    return Live(pointer, pointer.sequence, model_retention.is_retired(retire_by, pointer.run_id))


def _is_needed(engine: Engine, registry: Registry, fingerprint: str, retire_days: int) -> bool:
    """Whether the newest version was trained on other data, or the live one must be replaced."""
    newest = next(iter(registry.versions()), None)
    if newest is None or newest.meta.get("data_fingerprint") != fingerprint:
        return True
    return _live(engine, registry, retire_days).is_retiring


def _compare_with_live(
    registry: Registry, live: Live, table: pd.DataFrame, open_labels: Sequence[str] | None
) -> promotion_gate.Comparison | None:
    """Compare with the live model on the held-out rows that are new to it; None without one.

    The live model was refitted on every label of its time, those of held-out rows included. Fair
    are rows whose label came or changed after that.

    Args:
        table: the held-out rows, with the columns `new`, the label of the new model, and `group`.
    """
    if live.pointer is None or live.is_retiring:
        return None
    run_id = live.pointer.run_id
    try:
        version = registry.load(run_id, live.pointer.manifest_sha256)
        model = Model.from_files(version.files)
    except (DamagedVersion, NotFound) as error:
        log.warning("gate.live_version_damaged", run_id=run_id, reason=str(error))
        return None
    table = table[[at > version.manifest.trained_through for at in table["labelled_at"]]]
    return promotion_gate.compare(
        run_id=run_id,
        truth=table["label"].tolist(),
        new=table["new"].tolist(),
        live=[it.label for it in model.predict_many(table["row"].tolist())],
        groups=table["group"].tolist(),
        open_labels=open_labels,
    )

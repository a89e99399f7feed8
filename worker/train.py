"""A training run: the labelled rows in, a stored version with its verdict out; it deploys nothing.

The rows are cut by time. What comes first is learned from, its latest part calibrates, and the
last fifth judges: the gate. What is stored is the same model with its base refitted on all rows,
so that it knows yesterday's corrections; the figures are those of the model that was judged.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from sqlalchemy import Engine

from shared import retirement
from shared.db import transaction
from shared.deploys import Pointer
from shared.errors import DamagedVersion, NotEnoughLabels, NotFound
from shared.log import get_logger
from shared.model import Model
from shared.registry import Registry
from worker import dataset, evaluate, feature_build, gate, leanings, learner, priors, traffic
from worker.dataset import Dataset

SEED = 0
log = get_logger()


class ReportProgress(Protocol):
    """Told of each step; may raise to end the run."""

    def __call__(self, phase: str, done: int = 0, total: int = 0) -> None: ...


def run(
    engine: Engine,
    registry: Registry,
    *,
    job_id: str,
    limit: int | None,
    only_if_new: bool,
    min_labels: int,
    threshold_f1: float,
    target_precision: float = 0.9,
    retire_days: int = 30,
    progress: ReportProgress,
) -> dict[str, Any]:
    """Train on the newest *limit* labelled transactions and store the version.

    Returns the job's result: `run_id`, the figures of the gate's rows, the baselines and the noise
    ceiling on the same rows, and `gate` with `passed` and `reason`; or, with *only_if_new* and
    nothing new or not yet enough, `skipped` and the reason.

    Raises:
        NotEnoughLabels: fewer than *min_labels* transactions are labelled, and the run was not
            *only_if_new*.
    """
    progress("features")
    labelled = feature_build.Scope(labelled=True)
    feature_build.refresh(engine, labelled, progress=lambda done: progress("features", done))
    priors.refresh(engine)
    fingerprint = dataset.fingerprint(engine, limit=limit)
    is_known = fingerprint == _fingerprint_of_the_newest(registry)
    if only_if_new and is_known and not _retires(engine, registry, _live(registry)[0], retire_days):
        return {"skipped": True, "reason": "no label or transaction has changed since the last run"}
    progress("load")
    read_at = dt.datetime.now(dt.UTC)
    data = dataset.load(engine, limit=limit)
    if len(data) < min_labels:
        told = f"{len(data)} labelled transactions found, {min_labels} needed"
        if only_if_new:  # a night before people have begun is no failure
            return {"skipped": True, "reason": told}
        raise NotEnoughLabels(told, found=len(data), needed=min_labels)
    learned, judged = dataset.split_by_time(data)
    model, stored = learner.fit_and_refit(
        data.rows,
        data.labels,
        learned=len(learned),
        seed=SEED,
        target_precision=target_precision,
        progress=progress,
    )
    progress("evaluate")
    predictions, linear = leanings.answers(model, judged.rows)
    report = evaluate.report(
        judged.rows,
        judged.labels,
        predictions,
        learned_rows=learned.rows,
        learned_labels=learned.labels,
        linear=linear,
    )
    guesses = [prediction.label for prediction in predictions]
    pointer, live_sequence = _live(registry)
    beside = None
    if not _retires(engine, registry, pointer, retire_days):
        beside = _beside_the_live_model(registry, pointer, judged, guesses)
    verdict = gate.judge(report, threshold_f1=threshold_f1, live=beside)
    progress("save")
    result = {
        "val_f1_macro": report["f1_macro"],
        "val_accuracy": report["accuracy"],
        "class_count": len(stored.labels),
        "train_size": len(learned),
        "calibrate_size": model.facts["calibrate_rows"],  # the latest of the train_size
        "val_size": len(judged),
        "baselines": report["baselines"],
        "ceiling": report["ceiling"],
        "coverage_at_95": report["coverage_at_95"],
        "gate": asdict(verdict),
        "warnings": _warnings(data),
    }
    reference = traffic.reference(
        engine,
        model,
        learned_through=max(row.date for row in learned.rows if row.date),
        predictions=predictions,
        right=[guess == label for guess, label in zip(guesses, judged.labels, strict=True)],
    )
    version = registry.save(
        {**stored.to_files(), traffic.FILE: reference.to_file()},
        {
            **result,
            "job_id": job_id,
            "report": {**report, "leans_on": leanings.leans_on(model)},
            "data_fingerprint": fingerprint,
            "trained_through": max(data.labelled_at).isoformat(),
            "read_at": read_at.isoformat(),
        },
    )
    log.info("train.stored", run_id=version.run_id, gate_passed=verdict.passed)
    return {"run_id": version.run_id, **result, "live_sequence": live_sequence}


def _fingerprint_of_the_newest(registry: Registry) -> str | None:
    return next((version.manifest.data_fingerprint for version in registry.versions()), None)


def _live(registry: Registry) -> tuple[Pointer | None, int | None]:
    """The live version and the sequence a deploy must find; a damaged pointer is any sequence."""
    try:
        pointer = registry.current()
    except DamagedVersion as error:
        log.warning("gate.pointer_damaged", reason=str(error))
        return None, None
    return pointer, pointer.sequence if pointer else 0


def _retires(engine: Engine, registry: Registry, pointer: Pointer | None, after_days: int) -> bool:
    """Whether the live version gives way to the next that reaches the threshold."""
    if pointer is None:
        return False
    with transaction(engine) as session:
        return retirement.is_over(
            retirement.due(session, registry.versions(), after_days), pointer.run_id
        )


def _beside_the_live_model(
    registry: Registry, pointer: Pointer | None, judged: Dataset, guesses: Sequence[str]
) -> gate.Comparison | None:
    """How the live model does on the judged rows that it has not learned from, if there is one.

    The live model was refitted on every label it knew; on those rows it would be graded on its own
    homework. Fair are rows whose label came or changed after that.
    """
    if pointer is None:
        return None
    try:
        version = registry.load(pointer.run_id, pointer.manifest_sha256)
        model = Model.from_files(version.files)
    except (DamagedVersion, NotFound) as error:
        log.warning("gate.live_version_damaged", run_id=pointer.run_id, reason=str(error))
        return None
    through = version.manifest.trained_through
    fair = [at > through for at in judged.labelled_at]
    rows = judged.only(fair)
    return gate.compare(
        run_id=pointer.run_id,
        truth=rows.labels,
        challenger=[guess for guess, is_fair in zip(guesses, fair, strict=True) if is_fair],
        live=[prediction.label for prediction in model.predict_many(rows.rows)],
    )


def _warnings(data: Dataset) -> list[str]:
    if len(set(data.labels)) > 1:
        return []
    return ["All labelled transactions have one category; the model can give no other."]

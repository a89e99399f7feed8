"""The results of training and evaluation, as they are stored with a version and sent by the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeAlias

Plain: TypeAlias = dict[str, Any]  # ready for JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """How good a model is on rows that it was not trained on, beside its baselines.

    All scores are 0..1, None without a row, and over the judged rows: those of an open label with
    enough rows, and those of a closed label that their user gave before. No closed label is named.

    Attributes:
        rows, judged_rows: all rows, and those that the scores are over.
        f1_macro: over the judged rows of open labels.
        closed: {rows, judged, accuracy}: rows of closed labels, how many of them are judged.
        users: {labelled, rows, accuracy, user_lookup}, by how many labelled rows the user had in
            training; the last is the accuracy of that baseline.
        reliability: bins of equal width, see `worker.evaluation.calibration.reliability`.
        coverage_at_95, precision_curve: see `coverage` and `precision_curve` there.
        classes: {label, precision, recall, f1, support, learned}, by label.
        confusions: {label, predicted, count}, the most frequent first.
        too_rare: {label, learned, judged}: rows in training and in evaluation.
        merchants: `seen` and `unseen` in training, each {rows, accuracy}.
        baselines: {accuracy, f1_macro} by name; `best`, by macro-F1, has its `name` as well.
        ceiling: see `worker.evaluation.noise_ceiling`.
    """

    rows: int
    judged_rows: int
    accuracy: float | None
    f1_macro: float | None
    top3_accuracy: float | None
    calibration_error: float | None
    reliability: list[Plain]
    coverage_at_95: Plain | None
    precision_curve: list[Plain]
    classes: list[Plain]
    confusions: list[Plain]
    too_rare: list[Plain]
    merchants: dict[str, Plain]
    baselines: dict[str, Plain]
    ceiling: Plain
    closed: Plain = field(default_factory=lambda: {"rows": 0, "judged": 0, "accuracy": None})
    users: list[Plain] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a model may be deployed, and why or why not."""

    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """The result of a training run that stored a version; scores as in `EvaluationReport`.

    Attributes:
        class_count: labels that the stored version can give.
        train_size, calibrate_size, val_size: rows; the second are the latest of the first.
        gate: the decision of the promotion gate.
        live_sequence: the deployment that the gate compared with; 0 is none, None is any.
    """

    run_id: str
    val_f1_macro: float | None
    val_accuracy: float | None
    class_count: int
    train_size: int
    calibrate_size: int
    val_size: int
    baselines: dict[str, Plain]
    ceiling: Plain
    coverage_at_95: Plain | None
    gate: GateDecision
    warnings: list[str]
    live_sequence: int | None

    def to_json(self) -> Plain:
        return asdict(self)

    def to_meta(self) -> Plain:
        """The part for the version's manifest: without what depends on the deployments."""
        plain = self.to_json()
        return {name: plain[name] for name in plain if name not in ("run_id", "live_sequence")}


@dataclass(frozen=True, slots=True)
class SkippedRun:
    """The result of a run that had no new data to train on, or too little, and why."""

    reason: str

    def to_json(self) -> Plain:
        return {"skipped": True, "reason": self.reason}


def result_from_json(plain: Mapping[str, Any]) -> TrainReport | SkippedRun:
    """The result whose `to_json` is *plain*. KeyError if there is none."""
    if is_skipped(plain):
        return SkippedRun(plain["reason"])
    values = {field.name: plain[field.name] for field in fields(TrainReport)}
    return TrainReport(**{**values, "gate": GateDecision(**values["gate"])})


def is_skipped(result: Mapping[str, Any] | None) -> bool:
    """Whether the stored result of a training job is that of a skipped run."""
    return bool(result and result.get("skipped"))


def is_deployed(result: Mapping[str, Any] | None) -> bool:
    """Whether a training job, by its stored result, deployed its version."""
    return bool(result and result.get("deployed"))

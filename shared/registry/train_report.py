"""What a training run reports, as it is stored with the version and answered by the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypedDict


class Figures(TypedDict):
    """How good some predictions are, 0..1; None without a row."""

    accuracy: float | None
    f1_macro: float | None


class NamedFigures(Figures):
    """The figures of one of several baselines."""

    name: str


class Baselines(TypedDict):
    """The figures of simple rules on the rows that the model is evaluated on."""

    most_frequent: Figures
    merchant_lookup: Figures
    linear_text_model: Figures
    best: NamedFigures  # by macro-F1


class Ceiling(Figures):
    """The noise ceiling; see `worker.evaluation.noise_ceiling`."""

    rows: int
    low: Figures
    high: Figures


class ClassFigures(TypedDict):
    """One class: its figures, 0..1, and its rows in evaluation and in training."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    learned: int


class Confusion(TypedDict):
    """How often one class was predicted where another was right."""

    label: str
    predicted: str
    count: int


class RareClass(TypedDict):
    """A class with too few rows to be evaluated, and its rows in training and evaluation."""

    label: str
    learned: int
    judged: int


class GroupFigures(TypedDict):
    """A group of rows and the accuracy on it, 0..1; None without a row."""

    rows: int
    accuracy: float | None


class Coverage(TypedDict):
    """The largest share of rows that reaches a precision, and the confidence it starts at."""

    precision: float
    share: float
    confidence: float | None


class CurvePoint(TypedDict):
    """The precision of a share of the rows, and the least confidence among them."""

    coverage: float
    precision: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """How good a model is on rows that it was not trained on, beside simple rules.

    All figures are over the rows whose class has enough rows to be evaluated.

    Attributes:
        rows, judged_rows: all rows, and those of the figures.
        f1_macro: over the classes that those rows have.
        reliability: of bins of equal width, the confidence and the accuracy.
        classes: by label.
        confusions: the most frequent first.
        merchants: `seen` and `unseen` in training.
    """

    rows: int
    judged_rows: int
    accuracy: float | None
    f1_macro: float | None
    top3_accuracy: float | None
    calibration_error: float | None
    reliability: list[dict[str, Any]]
    coverage_at_95: Coverage | None
    precision_curve: list[CurvePoint]
    classes: list[ClassFigures]
    confusions: list[Confusion]
    too_rare: list[RareClass]
    merchants: dict[str, GroupFigures]
    baselines: Baselines
    ceiling: Ceiling

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a model may be deployed, and why or why not."""

    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """The result of a training run that stored a version.

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
    baselines: Baselines
    ceiling: Ceiling
    coverage_at_95: Coverage | None
    gate: Verdict
    warnings: list[str]
    live_sequence: int | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads."""
        return asdict(self)

    def to_meta(self) -> dict[str, Any]:
        """What of it the version's manifest says: all that does not depend on the deployments."""
        plain = self.to_json()
        return {name: plain[name] for name in plain if name not in ("run_id", "live_sequence")}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """What `to_json` gave, after a trip through JSON."""
        known = {field.name: plain[field.name] for field in fields(cls)}
        return cls(**{**known, "gate": Verdict(**known["gate"])})


@dataclass(frozen=True, slots=True)
class SkippedRun:
    """The result of a run that had nothing new to learn from, or too little, and why."""

    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `result_from_json` reads."""
        return {"skipped": True, "reason": self.reason}


def result_from_json(plain: Mapping[str, Any]) -> TrainReport | SkippedRun:
    """What `to_json` of either gave, after a trip through JSON."""
    if is_skipped(plain):
        return SkippedRun(plain["reason"])
    return TrainReport.from_json(plain)


def is_skipped(result: Mapping[str, Any] | None) -> bool:
    """Whether the stored result of a training job is that of a skipped run."""
    return bool(result and result.get("skipped"))


def is_deployed(result: Mapping[str, Any] | None) -> bool:
    """Whether a training job, by its stored result, deployed its version."""
    return bool(result and result.get("deployed"))

"""The gate: whether a model may go live, and why, in a sentence that a person can check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.registry.train_report import EvaluationReport, Verdict
from worker.evaluation.scores import figures

MIN_FAIR_ROWS = 30  # rows that the live model has not learned from; with fewer, chance decides
# An unlucky draw of rows must not keep a better model out, nor a lucky one let a worse one in:
# of a model that is no worse, about one run in forty is refused.
CEILING_ROWS, CEILING_SHARE = 30, 0.2  # judged rows with a peer; from fewer, no ceiling is told
Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The new model and the live one on the same rows, of which neither has learned.

    Attributes:
        rows: how many there are.
        f1_macro, live_f1_macro: macro-F1 of the new and of the live model.
        only_new_right, only_live_right: rows on which just one of the two is right.
    """

    run_id: str
    rows: int
    f1_macro: float
    live_f1_macro: float
    only_new_right: int
    only_live_right: int


def compare(
    *, run_id: str, truth: Sequence[str], challenger: Sequence[str], live: Sequence[str]
) -> Comparison:
    """Put two models' answers to the same rows side by side; three sequences of one length."""
    right = [guess == label for guess, label in zip(challenger, truth, strict=True)]
    live_right = [guess == label for guess, label in zip(live, truth, strict=True)]
    return Comparison(
        run_id=run_id,
        rows=len(truth),
        f1_macro=figures(truth, challenger)["f1_macro"] or 0.0,
        live_f1_macro=figures(truth, live)["f1_macro"] or 0.0,
        only_new_right=sum(a and not b for a, b in zip(right, live_right, strict=True)),
        only_live_right=sum(b and not a for a, b in zip(right, live_right, strict=True)),
    )


def decide(report: EvaluationReport, *, threshold_f1: float, live: Comparison | None) -> Verdict:
    """Decide by the absolute part of the gate, then by the live model on the same rows.

    Args:
        threshold_f1: the least macro-F1, 0 to 1.
        live: None where no model is live, or where the live one cannot be read.
    """
    f1 = report.f1_macro
    if f1 is None:
        return Verdict(False, "no category has enough labelled transactions to be judged")
    told = _figures(report, threshold_f1)
    if f1 < threshold_f1:
        return Verdict(False, f"below the threshold: {told}")
    if live is None:
        return Verdict(True, f"reaches the threshold: {told}")
    if live.rows < MIN_FAIR_ROWS:
        return Verdict(
            True,
            f"reaches the threshold: {told}; {live.rows} rows are new to the live model, too few "
            f"to compare ({MIN_FAIR_ROWS} needed)",
        )
    side_by_side = (
        f"{live.f1_macro:.3f} against {live.live_f1_macro:.3f} of the live {live.run_id} "
        f"on {live.rows} rows new to both"
    )
    if live.f1_macro < live.live_f1_macro and _surely_worse(live):
        return Verdict(False, f"worse than the live model, {side_by_side}: {told}")
    return Verdict(
        True, f"reaches the threshold: {told}; not worse than the live model, {side_by_side}"
    )


def _figures(report: EvaluationReport, threshold_f1: float) -> str:
    """What the score is to be seen beside: the simplest rules below it, the noise above it."""
    told = [
        f"macro-F1 {report.f1_macro:.3f}",
        f"threshold {threshold_f1:.3f}",
        f"best baseline {report.baselines['best']['f1_macro']:.3f}",
    ]
    ceiling = report.ceiling
    if ceiling["rows"] >= max(CEILING_ROWS, CEILING_SHARE * report.judged_rows):
        told.append(f"estimated ceiling {ceiling['f1_macro']:.3f}")
    return ", ".join(told)


def _surely_worse(live: Comparison) -> bool:
    """Whether the live model is right more often than chance explains (McNemar's test).

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12, 1947.
    """
    apart = live.only_new_right + live.only_live_right
    lead = live.only_live_right - live.only_new_right
    return apart > 0 and lead > Z * apart**0.5

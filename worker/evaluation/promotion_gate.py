"""The promotion gate: whether a model may be deployed, and why, in a sentence with the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.registry.train_report import EvaluationReport, GateDecision
from worker.evaluation.scores import score

MIN_FAIR_ROWS = 30  # rows that the live model was not trained on; with fewer, chance decides
CEILING_ROWS, CEILING_SHARE = 30, 0.2  # rows with a peer; with fewer, no ceiling is reported
# Standard normal quantile of the test for a worse model (one-sided, 2.5 %). A model is refused only
# if its macro-F1 is lower, too, so of equal models at most one in forty is.
Z = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The new model and the live one on the same rows, on which neither was trained."""

    run_id: str  # of the live one
    rows: int
    f1_macro: float
    live_f1_macro: float
    only_new_right: int  # rows on which just this one of the two is right
    only_live_right: int


def compare(
    *, run_id: str, truth: Sequence[str], new: Sequence[str], live: Sequence[str]
) -> Comparison:
    """Compare the labels that two models predict for the same rows; three sequences of n."""
    true = np.array(truth, dtype=object)
    right, live_right = (true == np.array(it, dtype=object) for it in (new, live))
    return Comparison(
        run_id=run_id,
        rows=len(truth),
        f1_macro=score(truth, new)["f1_macro"] or 0.0,
        live_f1_macro=score(truth, live)["f1_macro"] or 0.0,
        only_new_right=int((right & ~live_right).sum()),
        only_live_right=int((live_right & ~right).sum()),
    )


def decide_promotion(
    report: EvaluationReport, *, threshold_f1: float, live: Comparison | None
) -> GateDecision:
    """Decide by the threshold, then by the live model on the same rows.

    Args:
        threshold_f1: the least macro-F1, 0 to 1.
        live: None where no model is live, or where the live one cannot be read.
    """
    if report.f1_macro is None:
        return GateDecision(False, "no category has enough labelled transactions to be judged")
    scores = _scores(report, threshold_f1)
    if report.f1_macro < threshold_f1:
        return GateDecision(False, f"below the threshold: {scores}")
    reason = f"reaches the threshold: {scores}"
    if live is None:
        return GateDecision(True, reason)
    if live.rows < MIN_FAIR_ROWS:
        few = f"{live.rows} rows are new to the live model, too few to compare"
        return GateDecision(True, f"{reason}; {few} ({MIN_FAIR_ROWS} needed)")
    side_by_side = (
        f"{live.f1_macro:.3f} against {live.live_f1_macro:.3f} of the live {live.run_id} "
        f"on {live.rows} rows new to both"
    )
    if live.f1_macro < live.live_f1_macro and _is_significantly_worse(live):
        return GateDecision(False, f"worse than the live model, {side_by_side}: {scores}")
    return GateDecision(True, f"{reason}; not worse than the live model, {side_by_side}")


def _scores(report: EvaluationReport, threshold_f1: float) -> str:
    """The score between its bounds: baselines below, the noise ceiling above."""
    parts = [
        f"macro-F1 {report.f1_macro:.3f}",
        f"threshold {threshold_f1:.3f}",
        f"best baseline {report.baselines['best']['f1_macro']:.3f}",
    ]
    ceiling = report.ceiling
    if ceiling["rows"] >= max(CEILING_ROWS, CEILING_SHARE * report.judged_rows):
        parts.append(f"estimated ceiling {ceiling['f1_macro']:.3f}")
    return ", ".join(parts)


def _is_significantly_worse(live: Comparison) -> bool:
    """Whether the live model is right more often than chance explains (McNemar's test).

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12, 1947.
    """
    discordant = live.only_new_right + live.only_live_right
    lead = live.only_live_right - live.only_new_right
    return discordant > 0 and lead > Z * discordant**0.5

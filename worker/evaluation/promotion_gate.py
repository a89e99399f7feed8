"""The promotion gate: whether a model may be deployed, and why, in a sentence with the scores."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from shared.model.spellings import fold_label
from shared.registry.train_report import EvaluationReport, GateDecision
from worker.evaluation.scores import score

MIN_FAIR_ROWS = 30  # rows that the live model was not trained on; with fewer, chance decides
# Closed labels decide only where they are this part of the judged rows.
CLOSED_ROWS, CLOSED_SHARE = 30, 0.1
CEILING_ROWS, CEILING_SHARE = 30, 0.2  # rows with a peer; with fewer, no ceiling is reported
# Standard normal quantile of the test for a worse model (one-sided, 2.5 %). A model is refused only
# if its macro-F1 is lower, too, so of equal models at most one in forty is.
Z = 1.96
GROUP_Z = 2.5  # for each of the four groups of users, so that together they are as strict

_CLOSED_HINT = (
    "; {rows} have a category that too few users share to be told to others: see"
    " ML_SHARED_LABEL_USERS, 1 shares all"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The new model and the live one on the same rows, on which neither was trained."""

    run_id: str  # of the live one
    rows: int
    f1_macro: float
    live_f1_macro: float
    only_new_right: int  # rows on which just this one of the two is right
    only_live_right: int
    worse_group: str | None = None  # of users, in words, where the new one is clearly worse


def compare(
    *,
    run_id: str,
    truth: Sequence[str],
    new: Sequence[str],
    live: Sequence[str],
    groups: Sequence[str] | None = None,
    open_labels: Collection[str] | None = None,
) -> Comparison:
    """Compare the labels that two models predict for the same rows; sequences of n.

    Args:
        groups: how many labelled rows the user of each row has, in words; '' without a user.
        open_labels: whose macro-F1 is compared; None: of all. Where no row has one, the accuracy is
            compared instead.
    """
    true, new_labels, live_labels = (
        np.array(list(map(fold_label, it)), dtype=object) for it in (truth, new, live)
    )
    right, live_right = true == new_labels, true == live_labels
    open_names = None if open_labels is None else set(map(fold_label, open_labels))
    is_open = np.array([open_names is None or it in open_names for it in true], dtype=np.bool_)
    metric, rows = ("f1_macro", is_open) if is_open.any() else ("accuracy", ~is_open)
    worse = None
    for group in sorted(set(groups or ()) - {""}):
        chosen = np.array(groups, dtype=object) == group
        only_new, only_live = (
            (right & ~live_right)[chosen].sum(),
            (live_right & ~right)[chosen].sum(),
        )
        if chosen.sum() >= MIN_FAIR_ROWS and _is_fewer(only_new, only_live, GROUP_Z):
            worse = worse or group
    return Comparison(
        run_id=run_id,
        rows=len(truth),
        f1_macro=score(true[rows].tolist(), new_labels[rows].tolist())[metric] or 0.0,
        live_f1_macro=score(true[rows].tolist(), live_labels[rows].tolist())[metric] or 0.0,
        only_new_right=int((right & ~live_right).sum()),
        only_live_right=int((live_right & ~right).sum()),
        worse_group=worse,
    )


def decide_promotion(
    report: EvaluationReport, *, threshold_f1: float, live: Comparison | None
) -> GateDecision:
    """Decide by the threshold, then by the live model on the same rows.

    Args:
        threshold_f1: the least macro-F1, 0 to 1.
        live: None where no model is live, or where the live one cannot be read.
    """
    own = report.closed["accuracy"] if _is_closed_judged(report) else None
    if report.f1_macro is None and own is None:
        reason = "no category has enough labelled transactions to be judged"
        if report.closed["rows"]:
            reason += _CLOSED_HINT.format(rows=report.closed["rows"])
        return GateDecision(False, reason)
    scores = _scores(report, threshold_f1)
    if report.f1_macro is not None and report.f1_macro < threshold_f1:
        return GateDecision(False, f"below the threshold: {scores}")
    if own is not None and own < threshold_f1:
        return GateDecision(False, f"below the threshold for names of users' own: {scores}")
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
    if live.worse_group:
        message = f"worse than the live model for users with {live.worse_group} labelled"
        return GateDecision(False, f"{message}, {side_by_side}: {scores}")
    return GateDecision(True, f"{reason}; not worse than the live model, {side_by_side}")


def _is_closed_judged(report: EvaluationReport) -> bool:
    judged: int = report.closed["judged"]
    return judged >= max(CLOSED_ROWS, CLOSED_SHARE * report.judged_rows)


def _scores(report: EvaluationReport, threshold_f1: float) -> str:
    """The scores between their bounds: baselines below, the noise ceiling above."""
    parts = []
    if report.f1_macro is not None:
        parts.append(f"macro-F1 {report.f1_macro:.3f}")
    if _is_closed_judged(report):
        parts.append(f"accuracy of users' own names {report.closed['accuracy']:.3f}")
    parts.append(f"threshold {threshold_f1:.3f}")
    if report.f1_macro is not None:
        parts.append(f"best baseline {report.baselines['best']['f1_macro']:.3f}")
    ceiling = report.ceiling
    if ceiling["f1_macro"] is not None and ceiling["rows"] >= max(
        CEILING_ROWS, CEILING_SHARE * report.judged_rows
    ):
        parts.append(f"estimated ceiling {ceiling['f1_macro']:.3f}")
    return ", ".join(parts)


def _is_significantly_worse(live: Comparison) -> bool:
    """Whether the live model is right more often than chance explains (McNemar's test).

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12, 1947.
    """
    return _is_fewer(live.only_new_right, live.only_live_right, Z)


def _is_fewer(one: int, other: int, z: float) -> bool:
    """Whether *one* of two counts is lower than chance explains, by McNemar's test."""
    return one + other > 0 and other - one > z * (one + other) ** 0.5

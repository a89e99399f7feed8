"""Figures of what a method said, and how sure a difference between two methods is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.data import BoolArray
from benchmarks.quality.simple import Answers
from worker.evaluation import scores
from worker.evaluation.calibration import calibration_error, coverage, precision_curve, reliability

RESAMPLES = 1000
CURVE_POINTS = 100
USER_GROUPS = {"0": (0, 0), "1-10": (1, 10), "11-100": (11, 100), "more": (101, np.inf)}

Labels = Sequence[str]
Numbers = NDArray[np.int64]
Weights = NDArray[np.float64]


def chosen(answers: Answers, keep: BoolArray) -> Answers:
    """The answers of the rows in *keep*, shape (n,)."""
    ranked = [row for row, is_kept in zip(answers.ranked, keep, strict=True) if is_kept]
    return Answers(ranked, answers.confidence[keep])


def figures(truth: Labels, answers: Answers, seen: BoolArray) -> dict[str, Any]:
    """The figures of n rows, n > 0; None where there are no such rows, or only one answer each.

    Args:
        seen: which rows have a merchant that was learned from, shape (n,).
    """
    right = _right(truth, answers)
    ranks = max(len(ranked) for ranked in answers.ranked)
    in_top = [label in ranked for label, ranked in zip(truth, answers.ranked, strict=True)]
    return {
        "rows": len(truth),
        "accuracy": float(right.mean()),
        "f1_macro": scores.score(truth, answers.labels)["f1_macro"],
        "accuracy_seen": float(right[seen].mean()) if seen.any() else None,
        "accuracy_unseen": float(right[~seen].mean()) if not seen.all() else None,
        "top3_accuracy": float(np.mean(in_top)) if ranks > 1 else None,
        "calibration_error": calibration_error(answers.confidence, right),
        "coverage_at_95": coverage(answers.confidence, right)["share"],
    }


def accuracy_by_user_rows(
    truth: Labels, answers: Answers, user_rows: Numbers
) -> dict[str, dict[str, Any]]:
    """Rows and accuracy by how many learned rows the user had; only of groups that have rows."""
    right = _right(truth, answers)
    groups = {
        name: (least <= user_rows) & (user_rows <= most)
        for name, (least, most) in USER_GROUPS.items()
    }
    return {
        name: {"rows": int(group.sum()), "accuracy": float(right[group].mean())}
        for name, group in groups.items()
        if group.any()
    }


def curves(truth: Labels, answers: Answers) -> dict[str, Any]:
    """What the pictures need: reliability by confidence, and precision by coverage."""
    right = _right(truth, answers)
    return {
        "reliability": reliability(answers.confidence, right),
        "precision_curve": precision_curve(answers.confidence, right, CURVE_POINTS),
    }


def bootstrap(
    truth: Sequence[int],
    ours: Sequence[int],
    theirs: Sequence[int],
    units: Sequence[object],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """How much better *ours* is than *theirs* on the same n rows, with an interval of 95%.

    Both are judged on the same resample each time, so what is hard for both cancels out.

    Args:
        truth, ours, theirs: labels as numbers from 0 on, one a row.
        units: what is drawn with replacement, one a row: rows of one unit are drawn together.
            Distinct ones draw rows; merchants draw merchants, whose rows stand and fall together.

    Returns:
        For `accuracy` and `f1_macro`: `difference`, `low` and `high`.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap", chapter 13 (percentiles).
    """
    t, a, b = (np.array(one, dtype=np.int64) for one in (truth, ours, theirs))
    labels = 1 + max(*truth, *ours, *theirs)
    places: dict[object, int] = {}
    unit_of = np.array([places.setdefault(unit, len(places)) for unit in units])
    rng = np.random.default_rng(seed)
    found = np.empty((resamples, 2))
    for index in range(resamples):
        drawn = np.bincount(rng.integers(len(places), size=len(places)), minlength=len(places))
        weight = drawn[unit_of].astype(np.float64)
        found[index] = _scores(t, a, weight, labels) - _scores(t, b, weight, labels)
    whole = np.ones(len(truth))
    difference = _scores(t, a, whole, labels) - _scores(t, b, whole, labels)
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    return {
        name: {
            "difference": float(difference[column]),
            "low": float(low[column]),
            "high": float(high[column]),
        }
        for column, name in enumerate(("accuracy", "f1_macro"))
    }


def _right(truth: Labels, answers: Answers) -> BoolArray:
    return np.array(
        [label == guess for label, guess in zip(truth, answers.labels, strict=True)],
        dtype=np.bool_,
    )


def _scores(truth: Numbers, guess: Numbers, weight: Weights, count: int) -> Weights:
    """Accuracy and macro-F1 of weighted rows, over the labels that *truth* has; shape (2,)."""
    right = truth == guess
    hits = np.bincount(truth[right], weight[right], minlength=count)
    support = np.bincount(truth, weight, minlength=count)
    guessed = np.bincount(guess, weight, minlength=count)
    present = support > 0
    f1 = 2 * hits[present] / (support[present] + guessed[present])
    return np.array([hits.sum() / weight.sum(), f1.mean()])

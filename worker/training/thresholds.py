"""Fits repeat rates and thresholds on labelled rows in time order."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.features.extract import FeatureRow
from shared.model.thresholds import (
    DEFAULT_REPEAT_RATES,
    RECENT,
    SHARES,
    TIMES,
    RepeatRates,
    Thresholds,
    share_bin,
    times_bin,
)

PRIOR_ROWS = 20  # the weight of DEFAULT_REPEAT_RATES in each cell
MIN_LABEL_ROWS = 30  # rows that a label needs for a threshold of its own
LOWEST, HIGHEST = 0.5, 0.99  # of any threshold: nothing is shown that is more likely wrong


class RepeatRateFit(NamedTuple):
    """The repeat rates of n rows."""

    rates: RepeatRates  # each cell starts from that of DEFAULT_REPEAT_RATES
    threshold: float  # the lowest rate from which on the target share of repeated labels is right
    answers: NDArray[np.bool_]  # shape (n,): whether the merchant history alone would have decided


def fit_repeat_rates(
    rows: Sequence[FeatureRow], labels: Sequence[str], target: float
) -> RepeatRateFit:
    """Fit how often users give a merchant the same label again, and the threshold to suggest it.

    Args:
        rows: the earliest first; those without a merchant count for nothing.
        target: share of the repeated labels that should be right, 0..1.
    """
    history: defaultdict[tuple[str, str], deque[str]] = defaultdict(lambda: deque(maxlen=RECENT))
    trials = np.full((len(TIMES), len(SHARES)), float(PRIOR_ROWS))
    repeated = trials * DEFAULT_REPEAT_RATES
    best = []  # of each row's most frequent label: the row, its cell, and whether it was right
    for index, (row, truth) in enumerate(zip(rows, labels, strict=True)):
        if not row.merchant:
            continue
        earlier = history[row.user_id, row.merchant]
        for rank, (label, count) in enumerate(Counter(earlier).most_common()):
            cell = times_bin(len(earlier)), share_bin(count / len(earlier))
            trials[cell] += 1
            repeated[cell] += label == truth
            if rank == 0:
                best.append((index, *cell, label == truth))
        earlier.append(truth)
    answers = np.zeros(len(rows), dtype=np.bool_)
    if not best:
        return RepeatRateFit(DEFAULT_REPEAT_RATES, Thresholds().memory, answers)
    rates = (repeated / trials).round(4)
    indices, times, share, right = np.array(best, dtype=np.int64).T
    confidence = rates[times, share]
    threshold = _threshold(confidence, right == 1, target)
    answers[indices] = confidence >= threshold
    return RepeatRateFit(tuple(map(tuple, rates.tolist())), threshold, answers)


def fit_thresholds(
    predicted: Sequence[str],
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    target: float,
) -> tuple[dict[str, float], float]:
    """Fit the confidence that each label needs to be shown, and the one of labels with few rows.

    Args:
        predicted: the model's label of each of n rows that it was not trained on.
        confidence, right: shape (n,).
        target: share of the shown labels that should be right, 0..1.

    Returns:
        Thresholds by label, and the default.
    """
    names = np.asarray(predicted, dtype=object)
    by_label = {
        name: _threshold(confidence[names == name], right[names == name], target)
        for name, count in Counter(predicted).items()
        if count >= MIN_LABEL_ROWS
    }
    return by_label, _threshold(confidence, right, target)


def _threshold(confidence: NDArray[np.float64], right: NDArray[np.bool_], target: float) -> float:
    """The lowest confidence from which on *target* of the rows are right."""
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    # The mean of Jeffreys' posterior: a lucky row or two set no threshold.
    rate = (np.cumsum(right) + 0.5) / (np.arange(right.size) + 2)
    is_last = np.append(confidence[1:] < confidence[:-1], True)  # of the rows of one confidence
    enough = np.flatnonzero(is_last & (rate >= target))
    threshold = confidence[enough[-1]] if enough.size else HIGHEST
    return round(float(min(max(threshold, LOWEST), HIGHEST)), 4)

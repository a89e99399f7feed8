"""How far a merchant's earlier labels can be trusted, and how sure the model must be: learned from
labelled rows in the order of time."""

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

PRIOR_ROWS = 20  # what DEFAULT_TRUST counts for in each cell
MIN_OF_LABEL = 30  # rows that a label needs for a bar of its own
LOWEST, HIGHEST = 0.5, 0.99  # of any bar: nothing is shown that is likelier wrong than right


class RepeatRateFit(NamedTuple):
    """What memory is worth on some rows.

    Attributes:
        trust: a table as DEFAULT_TRUST, which each of its cells starts from.
        bar: the lowest confidence from which on the target share of what memory says held.
        speaks: shape (n,): whether memory would have answered, and nothing else been asked.
    """

    trust: RepeatRates
    threshold: float
    answers: NDArray[np.bool_]


def fit_repeat_rates(
    rows: Sequence[FeatureRow], labels: Sequence[str], target: float
) -> RepeatRateFit:
    """How often what a user called a merchant held the next time, and from when on to say so.

    Args:
        rows: the earliest first; those without a merchant count for nothing.
        target: share of what is said from memory that should be right, 0..1.
    """
    seen: defaultdict[tuple[str, str], deque[str]] = defaultdict(lambda: deque(maxlen=RECENT))
    asked = np.full((len(TIMES), len(SHARES)), float(PRIOR_ROWS))
    held = asked * DEFAULT_REPEAT_RATES
    said = []  # of each row's most frequent label: the row, its cell, and whether it held
    for place, (row, truth) in enumerate(zip(rows, labels, strict=True)):
        if not row.merchant:
            continue
        earlier = seen[row.user_id, row.merchant]
        for rank, (label, count) in enumerate(Counter(earlier).most_common()):
            cell = times_bin(len(earlier)), share_bin(count / len(earlier))
            asked[cell] += 1
            held[cell] += label == truth
            if rank == 0:
                said.append((place, *cell, label == truth))
        earlier.append(truth)
    trust = (held / asked).round(4)
    speaks = np.zeros(len(rows), dtype=np.bool_)
    if not said:
        return RepeatRateFit(DEFAULT_REPEAT_RATES, Thresholds().memory, speaks)
    places, times, share, right = np.array(said, dtype=np.int64).T
    confidence = trust[times, share]
    bar = _threshold(confidence, right == 1, target)
    speaks[places] = confidence >= bar
    return RepeatRateFit(tuple(map(tuple, trust.tolist())), bar, speaks)


def fit_thresholds(
    predicted: Sequence[str],
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    target: float,
) -> tuple[dict[str, float], float]:
    """From which confidence on each label may be shown, and that of labels with too few rows.

    Args:
        predicted: the model's label of each of n rows that it has not learned.
        confidence, right: shape (n,).
        target: share of the shown that should be right, 0..1.

    Returns:
        By label, and the default: the lowest confidence from which on *target* of the rows are
        right.
    """
    names = np.asarray(predicted, dtype=object)
    bars = {
        name: _threshold(confidence[names == name], right[names == name], target)
        for name, count in Counter(predicted).items()
        if count >= MIN_OF_LABEL
    }
    return bars, _threshold(confidence, right, target)


def _threshold(confidence: NDArray[np.float64], right: NDArray[np.bool_], target: float) -> float:
    """The lowest confidence from which on *target* of the rows are right, a few rows aside."""
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    # The mean of Jeffreys' posterior: a row or two of luck set no bar.
    rate = (np.cumsum(right) + 0.5) / (np.arange(right.size) + 2)
    whole = np.append(confidence[1:] < confidence[:-1], True)  # rows of one confidence go together
    enough = np.flatnonzero(whole & (rate >= target))
    found = confidence[enough[-1]] if enough.size else HIGHEST
    return round(float(min(max(found, LOWEST), HIGHEST)), 4)

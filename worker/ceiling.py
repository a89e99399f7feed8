"""The noise ceiling: how well any model could do on labels that contradict each other.

Where one merchant stands under different categories, no model can be right about all of its rows.
How many it can be right about is seen in hindsight, from all labels at once, later ones included.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, NamedTuple

from shared.encode import amount_bin
from shared.features import FeatureRow
from worker.scores import Figures, Labels, figures

# What makes two rows the same thing, the finest first. A row is looked up by the first of these
# under which another day has a labelled row. Sizes of amounts, for 48.20 is hardly ever spent twice
# where fuel and groceries are of one merchant.
KEYS: tuple[Callable[[FeatureRow, int], Hashable], ...] = (
    lambda row, size: (row.line, row.norm_desc, row.amount),
    lambda row, size: (row.line, row.norm_desc, size),
    lambda row, size: (row.line, size),
    lambda row, size: (row.merchant, size),
    lambda row, size: row.line,
    lambda row, size: row.merchant,
)


class Hindsight(NamedTuple):
    """The most frequent label of the rows with one key."""

    without: str  # the row itself and its day left out
    within: str  # the row itself included


def ceiling(
    rows: Sequence[FeatureRow], labels: Labels, judged: Sequence[int], model: Figures
) -> dict[str, Any]:
    """Estimate what a model that always gives the likeliest label would score.

    Looked up *without* the row itself, the most frequent label of its key is right less often than
    the likeliest label, as it was found from few rows; looked up *with* it, more often, as the row
    helps to choose. The truth lies between the two, on average; the estimate is the middle.

    A row of the same day does not speak for another: split lines and rows imported twice agree
    whatever the noise. Rows without a peer are left out, as if their labels were as noisy as the
    others: with the model's own answer there, new merchants would count as noise.

    Tried on made-up labels whose likeliest label is known, with 10 to 50 % of them flipped or with
    several true labels a merchant: from 5 rows a merchant on, the middle is within 0.04 of the true
    accuracy and macro-F1, mostly within 0.015; with 2 or 3 rows and evenly spread flips it is up
    to 0.10 too low, and so it is where amounts split a merchant's rows into groups that small. The
    chance that two rows of a key agree, turned into an accuracy (Cover and
    Hart), is exact for such flips and 0.03 to 0.10 too high wherever merchants differ in how noisy
    they are, as real ones do. On real rows with labels drawn anew, the middle came out 0.004 and
    0.011 below the true accuracy, 0.02 to 0.04 below the true macro-F1; lower still where something
    decides that hardly ever occurs twice. So it errs on the low side.

    A model that leans to rare labels on purpose can have about 0.02 more macro-F1.

    Args:
        rows: all labelled rows, learned and judged.
        labels: as many.
        judged: indices of those that are judged.
        model: figures of the model on them; the ceiling is never below.

    Returns:
        `accuracy` and `f1_macro`, `low` and `high` with the same for the two look-ups, and `rows`,
        how many judged rows have a peer. All figures are None where none has.

    Source: Fukunaga, "Introduction to Statistical Pattern Recognition", 2nd ed., 1990, chapter 5,
    on leave-one-out and resubstitution as bounds of the Bayes error; Cover, Hart, "Nearest Neighbor
    Pattern Classification", IEEE Trans. Inf. Theory 13, 1967.
    """
    found = _look_up(rows, labels, judged)
    truth = [labels[index] for index in found]
    low = figures(truth, [hindsight.without for hindsight in found.values()])
    high = figures(truth, [hindsight.within for hindsight in found.values()])
    return {
        "rows": len(truth),
        **{name: _middle(low[name], high[name], model[name]) for name in low},
        "low": low,
        "high": high,
    }


def _middle(low: float | None, high: float | None, model: float | None) -> float | None:
    if low is None or high is None or model is None:
        return None
    return max((low + high) / 2, model)


def _look_up(
    rows: Sequence[FeatureRow], labels: Labels, judged: Sequence[int]
) -> dict[int, Hindsight]:
    """What hindsight says of each judged row that has a peer, by the row's index."""
    overall = Counter(labels)

    def likeliest(counts: Counter[str]) -> str:
        return max(counts, key=lambda label: (counts[label], overall[label], label))

    found: dict[int, Hindsight] = {}
    missing = set(judged)
    sizes = [amount_bin(row.amount) for row in rows]
    for key_of in KEYS:
        for members in _groups(rows, sizes, missing, key_of):
            days: defaultdict[Hashable, list[int]] = defaultdict(list)
            for index in members:
                days[rows[index].date or index].append(index)
            if len(days) == 1:
                continue
            counts = Counter(labels[index] for index in members)
            within = likeliest(counts)
            for day in days.values():
                if wanted := missing.intersection(day):
                    without = within
                    if len(counts) > 1:  # with one label, leaving a day out changes nothing
                        without = likeliest(counts - Counter(labels[index] for index in day))
                    found.update(dict.fromkeys(wanted, Hindsight(without, within)))
        missing -= found.keys()
    return found


def _groups(
    rows: Sequence[FeatureRow],
    sizes: Sequence[int],
    missing: Collection[int],
    key_of: Callable[[FeatureRow, int], Hashable],
) -> list[list[int]]:
    """The indices of the rows that have the key of a missing one; none of a row without a
    merchant."""
    wanted = {key_of(rows[index], sizes[index]) for index in missing}
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.merchant and (key := key_of(row, sizes[index])) in wanted:
            groups[key].append(index)
    return list(groups.values())

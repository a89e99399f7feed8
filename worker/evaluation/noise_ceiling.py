"""The noise ceiling: how well any model could do on labels that contradict each other.

Where one merchant stands under different categories, no model can be right about all of its rows.
How many it can be right about is seen in hindsight, from all labels at once, later ones included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.features.encoder import amount_bin
from shared.features.extract import FeatureRow
from shared.registry.train_report import Ceiling, Figures
from worker.evaluation.scores import Labels, figures

# What makes two rows the same thing, the finest first. A row is looked up by the first of these
# under which another day has a labelled row. Sizes of amounts, for 48.20 is hardly ever spent twice
# where fuel and groceries are of one merchant.
KEYS = (
    ["line", "norm_desc", "amount"],
    ["line", "norm_desc", "size"],
    ["line", "size"],
    ["merchant", "size"],
    ["line"],
    ["merchant"],
)


def noise_ceiling(
    rows: Sequence[FeatureRow], labels: Labels, judged: Sequence[int], model: Figures
) -> Ceiling:
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
    found = _peer_labels(rows, labels, judged)
    low, high = figures(found["label"], found["without"]), figures(found["label"], found["within"])
    return Ceiling(
        rows=len(found),
        accuracy=_midpoint(low["accuracy"], high["accuracy"], model["accuracy"]),
        f1_macro=_midpoint(low["f1_macro"], high["f1_macro"], model["f1_macro"]),
        low=low,
        high=high,
    )


def _midpoint(low: float | None, high: float | None, model: float | None) -> float | None:
    if low is None or high is None or model is None:
        return None
    return max((low + high) / 2, model)


def _peer_labels(rows: Sequence[FeatureRow], labels: Labels, judged: Sequence[int]) -> pd.DataFrame:
    """The judged rows that have a peer, with the most frequent labels of their key.

    Returns:
        Columns `label`, of the row; `within`, the most frequent of its key; and `without`, the same
        with the row's day left out.
    """
    table = pd.DataFrame(
        {
            "line": [row.line for row in rows],
            "norm_desc": [row.norm_desc for row in rows],
            "merchant": [row.merchant for row in rows],
            "amount": [row.amount for row in rows],
            "size": [amount_bin(row.amount) for row in rows],
            # A row without a date is a day of its own.
            "day": [row.date.toordinal() if row.date else -at for at, row in enumerate(rows)],
            "label": labels,
        }
    )
    # Of labels that are equally frequent under a key, the one that is more frequent overall.
    overall = table["label"].value_counts().reset_index().sort_values(["count", "label"])
    names = overall["label"].to_numpy(dtype=object)
    table["rank"] = table["label"].map(pd.Series(range(names.size), index=names))
    table = table[table["merchant"] != ""]
    texts = ["line", "norm_desc", "merchant"]
    table = table.assign(**{name: pd.factorize(table[name])[0] for name in texts})
    missing = table.index.intersection(pd.Index(judged, dtype=np.int64))
    found = []
    for columns in KEYS:
        table = table.assign(key=table.groupby(columns, dropna=False).ngroup())
        peers = table[table["key"].isin(table.loc[missing, "key"])]
        peers = peers[peers.groupby("key")["day"].transform("nunique") > 1]
        counts = peers.value_counts(["key", "rank"]).reset_index()
        on_day = peers.value_counts(["key", "day", "rank"]).rename("on_day")
        asked = peers.loc[peers.index.intersection(missing), ["key", "day", "label"]]
        others = asked[["key", "day"]].drop_duplicates().merge(counts, on="key")
        others = others.join(on_day, on=["key", "day", "rank"])
        others["count"] -= others["on_day"].fillna(0)
        asked = asked.join(_most_frequent(counts, ["key"], names).rename("within"), on="key")
        without = _most_frequent(others, ["key", "day"], names).rename("without")
        found.append(asked.join(without, on=["key", "day"]))
        missing = missing.difference(asked.index)
    return pd.concat(found)


def _most_frequent(
    counts: pd.DataFrame, keys: list[str], names: NDArray[np.object_]
) -> pd.Series[str]:
    """The label with the highest count of each key, by key."""
    best = counts.sort_values(["count", "rank"]).drop_duplicates(keys, keep="last").set_index(keys)
    return pd.Series(names[best["rank"].to_numpy(dtype=np.int64)], best.index)

"""The noise ceiling: the best score that any model could have on labels that contradict each other.

Where one merchant has rows of different categories, no model can be right about all of them. How
many it can be right about is estimated in hindsight, from all labels at once, later ones included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.features.encoder import amount_bin
from shared.features.extract import FeatureRow
from worker.evaluation.scores import Labels, Scores, score

# What makes two rows alike, the finest first. A row is looked up by the first of these under which
# another day has a labelled row. By bins of the amount, too: 48.20 is hardly ever spent twice where
# one merchant sells fuel and groceries.
KEYS = (
    ["line", "norm_desc", "amount"],
    ["line", "norm_desc", "size"],
    ["line", "size"],
    ["merchant", "size"],
    ["line"],
    ["merchant"],
)


def noise_ceiling(
    rows: Sequence[FeatureRow], labels: Labels, judged: Sequence[int], model: Scores
) -> dict[str, Any]:
    """Estimate the scores of a model that always gives the likeliest label.

    The most frequent label of a row's key, counted *without* the row's own day, is right less often
    than the likeliest label; counted *with* it, more often. The estimate is the middle of the two.
    Rows of one day do not count for each other: split lines and rows imported twice agree whatever
    the noise. Rows without a peer are left out, as if their labels were as noisy as the others.

    On made-up labels the middle is mostly within 0.015 of the truth from 5 rows a merchant on; with
    2 or 3 rows it can be 0.10 too low. It errs on the low side.

    Args:
        rows, labels: of training and evaluation together.
        judged: the indices of the evaluated ones.
        model: its scores on those; the ceiling is never below.

    Returns:
        `accuracy`, `f1_macro`, and `low` and `high` with the same of the two counts, None without a
        peer; `rows`: evaluated rows with a peer.

    Source: Fukunaga, "Introduction to Statistical Pattern Recognition", 2nd ed., 1990, chapter 5,
    on leave-one-out and resubstitution as bounds of the Bayes error.
    """
    peers = _peer_labels(rows, labels, judged)
    low, high = (score(peers["label"], peers[side]) for side in ("without", "within"))
    middle = {name: _middle(low[name], high[name], model[name]) for name in low}
    return {"rows": len(peers), **middle, "low": low, "high": high}


def _middle(low: float | None, high: float | None, model: float | None) -> float | None:
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
            "day": [row.date.toordinal() if row.date else -i for i, row in enumerate(rows)],
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
    results = []
    for columns in KEYS:
        table = table.assign(key=table.groupby(columns, dropna=False).ngroup())
        peers = table[table["key"].isin(table.loc[missing, "key"])]
        peers = peers[peers.groupby("key")["day"].transform("nunique") > 1]
        counts = peers.value_counts(["key", "rank"]).reset_index()
        on_day = peers.value_counts(["key", "day", "rank"]).rename("on_day")
        queries = peers.loc[peers.index.intersection(missing), ["key", "day", "label"]]
        others = queries[["key", "day"]].drop_duplicates().merge(counts, on="key")
        others = others.join(on_day, on=["key", "day", "rank"])
        others["count"] -= others["on_day"].fillna(0)
        queries = queries.join(_most_frequent(counts, ["key"], names).rename("within"), on="key")
        without = _most_frequent(others, ["key", "day"], names).rename("without")
        results.append(queries.join(without, on=["key", "day"]))
        missing = missing.difference(queries.index)
    return pd.concat(results)


def _most_frequent(
    counts: pd.DataFrame, keys: list[str], names: NDArray[np.object_]
) -> pd.Series[str]:
    """The label with the highest count of each key, by key."""
    best = counts.sort_values(["count", "rank"]).drop_duplicates(keys, keep="last").set_index(keys)
    return pd.Series(names[best["rank"].to_numpy(dtype=np.int64)], best.index)

"""Explanation of a prediction: what moved the scores of each candidate of one row.

Exact, not estimated: TreeSHAP for the reranker, the weights for the linear model. The words are
those of the row; the model holds none.

Source: Lundberg, Erion, Lee, "Consistent Individualized Feature Attribution for Tree Ensembles",
2018; in LightGBM it is `pred_contrib`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.features.brands import CategoryMatch, lookup_category
from shared.features.encoder import SparseRows, word_columns
from shared.features.extract import FeatureRow
from shared.model.candidates import NO_LABEL, PAIR_FEATURES
from shared.model.classifier import Model, Prediction
from shared.model.label_history import HISTORY_KEYS, USER, add_own_keys

TOP = 8  # features, and words, of each candidate
MOSTLY = 0.5  # share of a key's occurrences
# From the most to the least specific.
_OWN_NAMES = (
    ("user + merchant", "you call this shop {}"),
    ("user + canonical", "you call this shop {}"),
    ("user + first word", "you call shops of this name {}"),
    ("user + kind", "you call shops of this kind {}"),
)
_OWN_SLOTS = [HISTORY_KEYS.index(key) for key, _ in _OWN_NAMES]


@dataclass(frozen=True, slots=True)
class FeatureMove:
    """What one pair feature added to the log-odds; `value` is null where it is unknown."""

    name: str  # one of PAIR_FEATURES
    value: float | None
    contribution: float


@dataclass(frozen=True, slots=True)
class WordMove:
    """A word, or two that follow each other, and what it added to the linear score."""

    text: str
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A label that was considered, and what moved its two scores, the strongest first.

    `log_odds` is `bias` + the contributions of `features` + `rest`; `linear` is those of `words`
    + `other`. Without a forest (tiny training sets), `log_odds` is null, and `bias` 0.
    """

    label: str
    share: Annotated[float, Field(ge=0, le=1)]  # before the calibration that gives the confidence
    log_odds: float | None
    linear: float
    bias: float  # the log-odds of a pair of which nothing is known
    features: tuple[FeatureMove, ...]
    rest: float  # what all other pair features added
    words: tuple[WordMove, ...]
    other: float  # what the row has beside `words`: n-grams, amount, channel, category, user


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A prediction with all its candidates, the best first, and what was read from the row."""

    prediction: Prediction
    merchant: str  # cleaned
    match: CategoryMatch | None  # the category of the shop, without any labels
    candidates: tuple[Candidate, ...]


def own_name(model: Model, row: FeatureRow, label: str) -> str:
    """What the user of *row* called such transactions before, in words; '' if mostly otherwise."""
    history, index = model.generator.history, model.index_of(label)
    keys = add_own_keys(model.encode([row]).rows["keys"])[:, _OWN_SLOTS]
    entries = history.find_pairs(history.find(keys), np.array([[index]]))[0, 0]
    for (_, text), share in zip(_OWN_NAMES, history.pair_stats[entries, 1].tolist(), strict=True):
        if share > MOSTLY:
            return text.format(label)
    is_closed = not model.generator.is_open[index]
    return "one of your own categories" if is_closed else ""


def explain(model: Model, row: FeatureRow) -> Explanation:
    """Explain each candidate of *row*; the prediction is that of `model.predict`."""
    inputs = model.encode([row])
    ranking = model.rank(inputs)
    ranked, log_odds, shares = ranking
    labels, user = ranked.labels[0], int(inputs.rows["keys"][0, USER])
    best_first = sorted(range(len(labels)), key=shares[0].__getitem__, reverse=True)
    best_first = [index for index in best_first if labels[index] != NO_LABEL]
    if model.reranker is None:
        by_feature = np.zeros((len(labels), len(PAIR_FEATURES) + 1))
    else:
        by_feature = model.reranker.contributions(ranked.features[0])
    entries = model.generator.encoder.values(inputs.text)
    by_column = model.linear_contributions(inputs.text.columns, entries, labels)
    texts = word_columns(row)
    candidates = []
    for index in best_first:
        features, rest, bias = _features(ranked.features[0, index], by_feature[index])
        words = _words(texts, inputs.text, by_column[:, index])
        linear = float(ranked.linear[0, index])
        candidates.append(
            Candidate(
                label=model.name(int(labels[index]), user),
                share=shares[0][index],
                log_odds=None if log_odds is None else float(log_odds[0, index]),
                linear=linear,
                bias=bias,
                features=features,
                rest=rest,
                words=words,
                other=linear - math.fsum(word.contribution for word in words),
            )
        )
    return Explanation(
        prediction=model.answers(inputs, ranking)[0],
        merchant=row.merchant,
        match=lookup_category(row),
        candidates=tuple(candidates),
    )


def _features(
    values: NDArray[np.float32], contributions: NDArray[np.float64]
) -> tuple[tuple[FeatureMove, ...], float, float]:
    """The TOP features that moved a candidate, what all others added, and the bias."""
    *added, bias = contributions.tolist()
    moves = [
        FeatureMove(name, value if math.isfinite(value) else None, contribution)
        for name, value, contribution in zip(PAIR_FEATURES, values.tolist(), added, strict=True)
        if contribution
    ]
    moves.sort(key=lambda move: -abs(move.contribution))
    return tuple(moves[:TOP]), math.fsum(move.contribution for move in moves[TOP:]), bias


def _words(
    texts: list[tuple[str, int]], row: SparseRows, contributions: NDArray[np.float64]
) -> tuple[WordMove, ...]:
    """The TOP words that moved a candidate."""
    added = dict(zip(row.columns.tolist(), contributions.tolist(), strict=True))
    by_word: defaultdict[str, float] = defaultdict(float)
    for text, column in texts:  # a word of the merchant may stand in the description, too
        by_word[text] += added[column]
    moves = [WordMove(text, contribution) for text, contribution in by_word.items() if contribution]
    moves.sort(key=lambda move: -abs(move.contribution))
    return tuple(moves[:TOP])

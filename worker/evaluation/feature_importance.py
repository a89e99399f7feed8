"""What a trained model leans on, and what its linear text scorer would answer alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightgbm
import numpy as np

from shared.features.extract import FeatureRow
from shared.model.candidates import PAIR_FEATURES, encode_rows
from shared.model.classifier import CHUNK, Model, Prediction

TOP_FEATURES = 15


def feature_importance(model: Model) -> dict[str, list[dict[str, Any]]]:
    """How much of the forest's gain in training each feature had, and each group of features.

    Returns:
        `features`, the TOP_FEATURES with the most, and `groups`, all of them, whose shares sum to
        one; each a list of {name, share}, largest first. A group is what the name of a feature has
        before its colon, else the name. Both are empty without a forest.
    """
    if not model.booster_text:
        return {"features": [], "groups": []}
    gain = lightgbm.Booster(model_str=model.booster_text).feature_importance("gain")
    features = Counter(dict(zip(PAIR_FEATURES, gain.tolist(), strict=True)))
    groups: Counter[str] = Counter()
    for name, value in features.items():
        groups[name.split(":")[0]] += value
    return {
        "features": _shares(features)[:TOP_FEATURES],
        "groups": _shares(groups),
    }


def _shares(gain: Counter[str]) -> list[dict[str, Any]]:
    total = gain.total()
    return [
        {"name": name, "share": value / total} for name, value in gain.most_common() if value > 0
    ]


class BaselinePredictions(NamedTuple):
    """What was said of n rows."""

    model: list[Prediction]
    linear: list[str]  # the labels that the linear scorer of the model's base gives alone


def predict_with_baseline(model: Model, rows: Sequence[FeatureRow]) -> BaselinePredictions:
    """What the model says of each row, as `predict_many` says it, and what its linear scorer would:
    its best among the candidates. Each row is read once for both.

    As a baseline the scorer has learned from the same rows as the model.
    """
    said = BaselinePredictions([], [])
    for start in range(0, len(rows), CHUNK):
        ranking = model.rank(encode_rows(rows[start : start + CHUNK], model.hash_key))
        proposal = ranking.candidates
        said.model.extend(model.answers(proposal, ranking.shares))
        best = proposal.linear.argmax(axis=1)[:, None]
        chosen = np.take_along_axis(proposal.labels, best, axis=1)[:, 0]
        said.linear.extend(model.labels[label] for label in chosen.tolist())
    return said

"""The feature importance of a trained model, and the predictions of its linear scorer alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from shared.features.extract import FeatureRow
from shared.model.candidates import NO_LABEL, PAIR_FEATURES, encode_rows
from shared.model.classifier import CHUNK, Model, Prediction

TOP_FEATURES = 15


def feature_importance(model: Model) -> dict[str, list[dict[str, Any]]]:
    """The share of each feature, and of each group of them, in the reranker's gain in training.

    Returns:
        `features`, the TOP_FEATURES with the most, and `groups`, all of them, whose shares sum to
        one; each a list of {name, share}, largest first. A group is the part of a feature's name
        before its colon, else the name. Both are empty without a reranker.
    """
    if not model.booster_text:
        return {"features": [], "groups": []}
    gain = lightgbm.Booster(model_str=model.booster_text).feature_importance("gain")
    shares = pd.Series(gain / gain.sum(), index=pd.Index(PAIR_FEATURES, name="name"), name="share")
    groups = shares.groupby(lambda name: name.split(":")[0]).sum().rename_axis("name")
    return {"features": _largest(shares)[:TOP_FEATURES], "groups": _largest(groups)}


def _largest(shares: pd.Series[float]) -> list[dict[str, Any]]:
    ranked = shares[shares > 0].sort_values(ascending=False, kind="stable")
    return [{"name": name, "share": share} for name, share in ranked.items()]


def predict_with_baseline(
    model: Model, rows: Sequence[FeatureRow]
) -> tuple[list[Prediction], list[str]]:
    """Predict with the model, as `predict_many` does, and label by its linear scorer alone.

    The scorer is a fair baseline: it was trained on the same rows. Each row is encoded once.
    """
    predictions: list[Prediction] = []
    linear: list[str] = []
    for start in range(0, len(rows), CHUNK):
        inputs = encode_rows(rows[start : start + CHUNK], model.hash_key)
        ranking = model.rank(inputs)
        candidates = ranking.candidates
        predictions.extend(model.answers(inputs, ranking))
        best = candidates.linear.argmax(axis=1)[:, None]
        labels = np.take_along_axis(candidates.labels, best, axis=1)[:, 0]
        linear.extend(model.labels[it] if it != NO_LABEL else "" for it in labels.tolist())
    return predictions, linear

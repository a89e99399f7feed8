"""Accuracy and macro-F1, as the evaluation report and the promotion gate define them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

Labels: TypeAlias = "Sequence[str] | pd.Series[str]"
Scores: TypeAlias = dict[str, float | None]


def score(truth: Labels, predicted: Labels) -> Scores:
    """`accuracy`, and `f1_macro` over the classes in *truth*; None where *truth* is empty."""
    if len(truth) == 0:
        return {"accuracy": None, "f1_macro": None}
    true, guessed = np.asarray(truth, dtype=object), np.asarray(predicted, dtype=object)
    f1 = f1_score(true, guessed, labels=sorted(set(truth)), average="macro", zero_division=0)
    return {"accuracy": float((true == guessed).mean()), "f1_macro": float(f1)}

"""Accuracy and macro-F1, as the evaluation report and the promotion gate define them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from shared.registry.train_report import Figures

Labels: TypeAlias = "Sequence[str] | pd.Series[str]"


def figures(truth: Labels, guesses: Labels) -> Figures:
    """Accuracy, and the mean F1 of the classes in *truth*; None where *truth* is empty."""
    if len(truth) == 0:
        return Figures(accuracy=None, f1_macro=None)
    true, guessed = np.asarray(truth, dtype=object), np.asarray(guesses, dtype=object)
    f1 = f1_score(true, guessed, labels=sorted(set(truth)), average="macro", zero_division=0)
    return Figures(accuracy=float((true == guessed).mean()), f1_macro=float(f1))

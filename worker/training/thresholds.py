"""Fits how sure each layer must be, so that the target share of what it shows is right."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shared.model.thresholds import Thresholds
from worker.training.layer_answers import HistoryReplay, LayerAnswers

MIN_ROWS = 30  # that a label, or a layer, needs for a threshold of its own
MEMORY_MARGIN = 0.1  # that a label from merchant history may be less sure than the target
LOWEST, HIGHEST = 0.5, 0.99  # of any threshold: nothing is shown that is more likely wrong


def fit_memory_threshold(history: HistoryReplay, target: float) -> Thresholds:
    """The threshold of merchant history, with its rates; all others are the default.

    No label is shown that is much less sure than the target, though surer ones make up for it: some
    users have few of those.
    """
    answers, default = history.answers, Thresholds(repeat_rates=history.rates)
    fitted = _fit_layer(answers.pick(answers.labels != ""), default.memory, target)
    return replace(default, memory=round(max(fitted, target - MEMORY_MARGIN), 4))


def fit_later_thresholds(
    thresholds: Thresholds,
    history: HistoryReplay,
    model: LayerAnswers,
    priors: LayerAnswers,
    cold_start: LayerAnswers,
    target: float,
) -> Thresholds:
    """*thresholds* with those of the layers that are asked where merchant history is unsure.

    Args:
        history, model, priors, cold_start: what they say of the same n rows, on which the model was
            not trained.
    """
    own = history.answers
    asks = (own.labels == "") | (own.confidence < thresholds.memory) & ~history.differs

    def is_asked(layer: LayerAnswers) -> NDArray[np.bool_]:
        agrees = (own.labels == "") | (own.labels == layer.labels)
        mask: NDArray[np.bool_] = asks & agrees & (layer.labels != "")
        return mask

    by_label, default = fit_label_thresholds(model.pick(is_asked(model)), target)
    needed = np.array([by_label.get(name, default) for name in model.labels.tolist()])
    shown = is_asked(model) & (model.confidence >= needed)
    return replace(
        thresholds,
        model=by_label,
        model_default=default,
        prior=_fit_layer(priors.pick(is_asked(priors) & ~shown), thresholds.prior, target),
        starter=_fit_layer(cold_start.pick(is_asked(cold_start)), thresholds.starter, target),
    )


def _fit_layer(answers: LayerAnswers, default: float, target: float) -> float:
    if answers.right.size < MIN_ROWS:
        return default
    return fit_threshold(answers.confidence, answers.right, target)


def fit_label_thresholds(answers: LayerAnswers, target: float) -> tuple[dict[str, float], float]:
    """Fit the confidence that each label needs to be shown, and the one of labels with few rows.

    Args:
        answers: the model's, on rows that it was not trained on.
        target: share of the shown labels that should be right, 0..1.

    Returns:
        Thresholds by label, and the default.
    """
    by_label = {
        name: fit_threshold(*answers.pick(answers.labels == name)[1:], target)
        for name, count in Counter(answers.labels.tolist()).items()
        if count >= MIN_ROWS
    }
    return by_label, fit_threshold(answers.confidence, answers.right, target)


def fit_threshold(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], target: float
) -> float:
    """The lowest confidence from which on *target* of the rows are right."""
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], right[order]
    # The mean of Jeffreys' posterior: a lucky row or two set no threshold.
    rate = (np.cumsum(right) + 0.5) / (np.arange(right.size) + 2)
    is_last = np.append(confidence[1:] < confidence[:-1], True)  # of the rows of one confidence
    enough = np.flatnonzero(is_last & (rate >= target))
    threshold = confidence[enough[-1]] if enough.size else HIGHEST
    return round(float(min(max(threshold, LOWEST), HIGHEST)), 4)

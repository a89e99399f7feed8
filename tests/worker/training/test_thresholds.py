"""How sure each layer must be, learned from labelled rows in the order of time."""

from __future__ import annotations

import numpy as np
import pytest

from shared.model.thresholds import DEFAULT_REPEAT_RATES, Thresholds
from worker.training.layer_answers import HistoryReplay, LayerAnswers
from worker.training.thresholds import (
    HIGHEST,
    LOWEST,
    fit_label_thresholds,
    fit_later_thresholds,
    fit_memory_threshold,
)


def answers(labels: list[str], confidence: object, right: object) -> LayerAnswers:
    return LayerAnswers(np.array(labels, object), np.array(confidence), np.array(right))


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_target_precision_is_met_above_the_threshold(target: float) -> None:
    draw = np.random.default_rng(7)
    confidence = draw.uniform(0.3, 1.0, 4_000)
    right = draw.uniform(size=4_000) < confidence

    thresholds, default = fit_label_thresholds(answers(["fuel"] * 4_000, confidence, right), target)

    assert thresholds["fuel"] == default
    assert right[confidence >= default].mean() == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "hits", "bar"), [(0, 0, HIGHEST), (3, 3, HIGHEST), (40, 40, LOWEST), (40, 0, HIGHEST)]
)
def test_few_correct_rows_set_no_threshold(rows: int, hits: int, bar: float) -> None:
    confidence, right = np.full(rows, 0.4), np.arange(rows) < hits

    assert fit_label_thresholds(answers(["fuel"] * rows, confidence, right), 0.9)[1] == bar


@pytest.mark.parametrize(("share", "target", "threshold"), [(0.98, 0.9, 0.8), (0.82, 0.95, 0.98)])
def test_merchant_history_shows_no_label_far_below_the_target(
    share: float, target: float, threshold: float
) -> None:
    """However many surer ones there are; with few of them, it shows only those."""
    sure = np.arange(10_000) < share * 10_000
    confidence = np.where(sure, 0.98, 0.6)
    right = np.random.default_rng(7).uniform(size=10_000) < confidence
    own = answers(["fuel"] * 10_000, confidence, right)
    history = HistoryReplay(DEFAULT_REPEAT_RATES, own, np.zeros(10_000, np.bool_))

    assert fit_memory_threshold(history, target).memory == threshold


def test_later_layers_are_judged_where_merchant_history_says_nothing_else() -> None:
    """Three kinds of rows: without history, with the same label, and with another or several."""
    own = answers(["", "fuel", "rent", "fuel"] * 50, [0.0, 0.6, 0.6, 0.6] * 50, [False] * 200)
    history = HistoryReplay(DEFAULT_REPEAT_RATES, own, np.tile([False, False, False, True], 50))
    always = np.tile([True, True, False, False], 50)
    model = answers(["fuel"] * 200, [0.7] * 200, always)
    silent = answers([""] * 200, [0.0] * 200, [False] * 200)

    fitted = fit_later_thresholds(Thresholds(memory=0.9), history, model, model, model, 0.9)
    alone = fit_later_thresholds(Thresholds(memory=0.9), history, silent, model, silent, 0.9)

    assert fitted.model == {"fuel": 0.7}
    assert fitted.starter == alone.prior == 0.7
    assert fitted.prior == Thresholds().prior  # the model leaves no row to the other users

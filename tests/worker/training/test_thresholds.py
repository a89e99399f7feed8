"""How sure each layer must be, learned from labelled rows in the order of time."""

from __future__ import annotations

import numpy as np
import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from worker.training.thresholds import HIGHEST, LOWEST, fit_repeat_rates, fit_thresholds


def bought(*merchants: str, user: str = "ada") -> list[FeatureRow]:
    return [features_of(RawTransaction(merchant=name, user_id=user)) for name in merchants]


def test_memory_layer_needs_an_earlier_label_of_the_merchant() -> None:
    steady, torn = ["KRONTAL"] * 40, ["ZORBLAX"] * 40
    rows = bought(*steady, *torn)
    labels = ["Fun"] * 40 + ["Toys", "Gifts"] * 20

    rates = fit_repeat_rates(rows, labels, 0.9)

    assert not rates.answers[0]
    assert rates.answers[3:40].all()
    assert not rates.answers[46:].any()


def test_label_of_one_user_is_no_memory_of_another() -> None:
    rows = bought("KRONTAL", user="ada") + bought("KRONTAL", user="bob")

    assert not fit_repeat_rates(rows, ["Fun", "Fun"], 0.9).answers.any()


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_target_precision_is_met_above_the_threshold(target: float) -> None:
    draw = np.random.default_rng(7)
    confidence = draw.uniform(0.3, 1.0, 4_000)
    right = draw.uniform(size=4_000) < confidence

    thresholds, default = fit_thresholds(["Fuel"] * 4_000, confidence, right, target)

    assert thresholds["Fuel"] == default
    assert right[confidence >= default].mean() == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize(
    ("rows", "hits", "bar"), [(0, 0, HIGHEST), (3, 3, HIGHEST), (40, 40, LOWEST), (40, 0, HIGHEST)]
)
def test_few_correct_rows_set_no_threshold(rows: int, hits: int, bar: float) -> None:
    confidence, right = np.full(rows, 0.4), np.arange(rows) < hits

    assert fit_thresholds(["Fuel"] * rows, confidence, right, 0.9)[1] == bar

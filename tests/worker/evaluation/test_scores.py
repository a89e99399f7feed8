"""Accuracy and macro-F1 of a few rows, computed by hand."""

from __future__ import annotations

import pytest

from worker.evaluation.scores import score


def test_macro_f1_counts_each_class_of_the_truth_once() -> None:
    """Food: precision 2/3, recall 1. Rent: precision 1, recall 1/2."""
    found = score(["Food", "Food", "Rent", "Rent"], ["Food", "Food", "Rent", "Food"])

    assert found == {"accuracy": 0.75, "f1_macro": pytest.approx((0.8 + 2 / 3) / 2)}


def test_label_that_is_only_predicted_is_no_class() -> None:
    assert score(["Food", "Food"], ["Food", "Rent"])["f1_macro"] == pytest.approx(2 / 3)


def test_without_rows_there_is_no_score() -> None:
    assert score([], []) == {"accuracy": None, "f1_macro": None}

"""What is told of a model's confidence, on examples small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from worker.evaluation import calibration

# The surest first: two right, then one wrong and one right that are equally sure, then a wrong one.
STATED = np.array([0.95, 0.9, 0.7, 0.7, 0.2])
CORRECT = np.array([True, True, False, True, False])


@pytest.mark.parametrize(
    ("stated", "correct", "expected"),
    [
        ([0.75, 0.75], [True, True], 0.25),
        ([0.75, 0.75, 0.75, 0.75], [True, True, True, False], 0.0),
        ([1.0], [True], 0.0),
        ([0.0, 1.0], [True, False], 1.0),
    ],
    ids=["too modest", "calibrated", "sure and right", "the worst"],
)
def test_calibration_error_equals_hand_computed_cases(
    stated: list[float], correct: list[bool], expected: float
) -> None:
    error = calibration.calibration_error(np.array(stated), np.array(correct))

    assert error == pytest.approx(expected)


def test_calibration_error_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="shapes"):
        calibration.calibration_error(np.zeros(0), np.zeros(0, dtype=np.bool_))


def test_reliability_has_the_rows_confidence_and_accuracy_of_each_bin() -> None:
    low, middle, high = calibration.reliability(STATED, CORRECT, bins=3)

    assert (low["rows"], low["confidence"], low["accuracy"]) == (1, pytest.approx(0.2), 0.0)
    assert middle == {"from": 1 / 3, "to": 2 / 3, "rows": 0, "confidence": None, "accuracy": None}
    assert (high["rows"], high["accuracy"]) == (4, 0.75)
    assert high["confidence"] == pytest.approx(3.25 / 4)


def test_the_gaps_of_the_reliability_curve_sum_to_the_calibration_error() -> None:
    draw = np.random.default_rng(0)
    stated = draw.random(500)
    correct = draw.random(500) < stated**2

    bins = [one for one in calibration.reliability(stated, correct) if one["rows"]]

    gaps = sum(one["rows"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / 500
    assert gaps == pytest.approx(calibration.calibration_error(stated, correct))


@pytest.mark.parametrize(
    ("precision", "share", "least"),
    [(1.0, 0.4, 0.9), (0.75, 0.8, 0.7), (0.6, 1.0, 0.2)],
    ids=["no mistake", "equally sure rows go together", "all"],
)
def test_coverage_takes_the_most_confident_rows_while_precise_enough(
    precision: float, share: float, least: float
) -> None:
    covered = calibration.coverage(STATED, CORRECT, precision)

    assert covered == {"precision": precision, "share": share, "confidence": least}


def test_coverage_continues_past_a_mistake_among_the_most_confident_rows() -> None:
    """One of twenty may be wrong, also the first."""
    stated = np.linspace(0.99, 0.5, 20)
    correct = np.array([False] + [True] * 19)

    assert calibration.coverage(stated, correct)["share"] == 1.0


def test_coverage_is_zero_if_no_threshold_is_precise_enough() -> None:
    covered = calibration.coverage(np.array([0.9, 0.8]), np.array([False, True]))

    assert covered == {"precision": 0.95, "share": 0.0, "confidence": None}


def test_precision_curve_goes_from_the_most_confident_rows_to_all() -> None:
    """A hundred rows, the surer half right: twenty points, five rows apart."""
    curve = calibration.precision_curve(np.linspace(1, 0, 100), np.arange(100) < 50)

    assert [point["coverage"] for point in curve] == pytest.approx(np.arange(1, 21) / 20)
    assert {point["precision"] for point in curve[:10]} == {1.0}
    assert curve[-1] == {"coverage": 1.0, "precision": 0.5, "confidence": 0.0}


def test_rows_of_equal_confidence_are_one_point_of_the_curve() -> None:
    curve = calibration.precision_curve(STATED, CORRECT)

    assert [(point["coverage"], point["precision"]) for point in curve] == [
        (0.2, 1.0),
        (0.4, 1.0),
        (0.8, 0.75),
        (1.0, 0.6),
    ]

"""From the scores of candidates to the probability that the best one is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.calibration import PROBABILITY_EPS, Calibration
from shared.model.candidates import PAIR_FEATURES, Candidates

positive = st.floats(0, 5)
share = st.floats(0, 1)


def candidates(*linear: list[float]) -> Candidates:
    """Candidates with these linear scores; their features are of no matter."""
    scores = np.array(linear, dtype=np.float32)
    labels = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return Candidates(labels, scores, np.zeros((*scores.shape, len(PAIR_FEATURES)), np.float32))


def test_calibration_is_the_same_after_a_trip_through_json() -> None:
    calibration = Calibration(0.8, 0.3, 0.97, (1.2, 0.7, -0.1))

    stored = json.dumps(calibration.as_json())

    assert Calibration.from_json(json.loads(stored)) == calibration


def test_shares_of_a_row_sum_to_one_and_follow_its_scores() -> None:
    found = Calibration(1.0, 1.0).shares(
        candidates([1.0, 0.0, 0.5], [0.0, 0.0, 0.0]), np.array([[1.0, 0.0, 0.5], [0.0, 0.0, 0.0]])
    )

    assert [sum(row) for row in found] == pytest.approx([1, 1])
    first, second, third = found[0]
    assert first > third > second
    assert found[1] == pytest.approx([1 / 3] * 3)


def test_weights_say_how_much_each_score_counts() -> None:
    """The two scores prefer different candidates."""
    linear, log_odds = candidates([2.0, 0.0]), np.array([[0.0, 2.0]])

    (by_linear,) = Calibration(0.0, 1.0).shares(linear, log_odds)
    (by_reranker,) = Calibration(1.0, 0.0).shares(linear, log_odds)

    assert by_linear == pytest.approx(by_reranker[::-1])
    assert by_linear[0] > by_linear[1]


def test_linear_score_decides_alone_without_a_reranker() -> None:
    linear = candidates([2.0, 0.0], [0.0, 1.0])

    assert Calibration(3.0, 1.0).shares(linear, None) == Calibration(0.0, 1.0).shares(
        linear, np.zeros((2, 2))
    )


def test_scores_far_apart_do_not_overflow() -> None:
    (found,) = Calibration(1.0, 1.0).shares(candidates([1e4, -1e4]), np.array([[1e4, -1e4]]))

    assert found == [1.0, 0.0]


@given(share)
def test_default_correction_changes_no_share(value: float) -> None:
    expected = min(max(value, PROBABILITY_EPS), 1 - PROBABILITY_EPS)

    assert Calibration(1.0, 1.0).confidence(value) == pytest.approx(expected)


@given(positive, positive, st.floats(-5, 5), positive, share, share, st.floats(-20, 20))
def test_larger_share_has_no_less_confidence(
    a: float, b: float, c: float, d: float, one: float, other: float, odds: float
) -> None:
    """And no answer is ever certain."""
    calibration = Calibration(1.0, 1.0, beta=(a, b, c, d))

    low, high = (calibration.confidence(value, odds) for value in sorted((one, other)))

    assert PROBABILITY_EPS <= low <= high + 1e-12
    assert high <= 1 - PROBABILITY_EPS

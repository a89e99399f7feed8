"""Eight bits for each weight: how near the scores stay, and the softmax."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.features.encoder import SparseRows
from shared.model.linear import QuantizedWeights, softmax

COLUMNS, SCORERS, LABELS = 40, 2, 5
DRAW = np.random.default_rng(4)
WEIGHTS = DRAW.normal(size=(COLUMNS, SCORERS, LABELS)).astype(np.float32)
WEIGHTS[3] = 0  # a column that no row of the training set had
WEIGHTS[5] *= 1e6
ROWS = [[0, 1, 7], [3], [2, 3, 4, 39], []]


def text_of(rows: list[list[int]]) -> tuple[SparseRows, NDArray[np.float32]]:
    """The columns of *rows*, and an entry for each."""
    columns = np.array([column for row in rows for column in row], dtype=np.int32)
    starts = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return SparseRows(columns, starts), (1 + columns % 3).astype(np.float32)


def test_each_weight_is_within_half_a_step_of_the_largest_of_its_column() -> None:
    quantized = QuantizedWeights.of(WEIGHTS)

    error = np.abs(quantized.values * quantized.scale - WEIGHTS)

    largest = np.abs(WEIGHTS).max(axis=2, keepdims=True)
    assert quantized.values.dtype == np.int8
    assert (error <= largest / 254 * (1 + 1e-4)).all()
    assert not quantized.values[3].any()


def test_scores_are_sums_of_entries_times_weights() -> None:
    quantized = QuantizedWeights.of(WEIGHTS)
    text, entries = text_of(ROWS)

    scores = quantized.score(text, entries)

    weights = quantized.values * quantized.scale
    expected = [
        sum((weights[column] * (1 + column % 3) for column in row), np.zeros((SCORERS, LABELS)))
        for row in ROWS
    ]
    assert scores.shape == (len(ROWS), SCORERS, LABELS)
    assert np.allclose(scores, expected, rtol=1e-5)


def test_one_row_is_scored_as_among_others() -> None:
    quantized = QuantizedWeights.of(WEIGHTS)

    together = quantized.score(*text_of(ROWS))

    alone = [quantized.score(*text_of([row]))[0] for row in ROWS]
    assert np.allclose(alone, together, rtol=1e-5)


def test_softmax_gives_shares_in_the_order_of_the_scores() -> None:
    shares = softmax(np.array([[0.0, 1.0, -1.0], [5.0, 5.0, 5.0]]))

    assert shares.sum(axis=1) == pytest.approx([1, 1])
    assert shares[0].argsort().tolist() == [2, 0, 1]
    assert shares[1] == pytest.approx(1 / 3)


def test_softmax_of_large_scores_does_not_overflow() -> None:
    assert softmax(np.array([1e30, -1e30])).tolist() == [1.0, 0.0]

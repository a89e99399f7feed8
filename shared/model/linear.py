"""Weights of linear models over encoded rows, quantized to eight bits.

A float32 for each of 33,000 columns and hundreds of labels would be most of a model's size, in
memory and on disk. Eight bits and a scale for each column lose nothing that a test row shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shared.features.encoder import SparseRows

FloatArray = NDArray[np.float32]
Float = TypeVar("Float", np.float32, np.float64)

_LARGEST = 127


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """The weights of S linear models, one for each column and each of K labels.

    Attributes:
        values: shape (WIDTH, S, K), int8.
        scale: the value of one step, shape (WIDTH, S, 1), float32.
    """

    values: NDArray[np.int8]
    scale: FloatArray

    @classmethod
    def of(cls, weights: FloatArray) -> Self:
        """Round *weights*, shape (WIDTH, S, K), by at most 1/254 of the largest of their column."""
        scale = np.maximum(np.abs(weights).max(axis=2, keepdims=True), np.float32(1e-30)) / _LARGEST
        return cls(np.rint(weights / scale).astype(np.int8), scale.astype(np.float32))

    def score(self, text: SparseRows, entries: FloatArray) -> FloatArray:
        """The scores of each row, shape (n, S, K); each row is scored on its own.

        *entries* are the values of text.columns, a sparse matrix (n, WIDTH).
        """
        width, scorers, labels = self.values.shape
        if text.size == 1:  # a sparse matrix would cost as much as the sums
            one = self.values[text.columns] * self.scale[text.columns]
            one *= entries[:, None, None]
            return np.asarray(one.sum(axis=0, keepdims=True))
        is_used = np.zeros(width, dtype=np.bool_)
        is_used[text.columns] = True
        used = np.flatnonzero(is_used)
        position = (np.cumsum(is_used, dtype=np.int32) - 1)[text.columns]
        dense = (self.values[used] * self.scale[used]).reshape(used.size, scorers * labels)
        matrix = csr_array((entries, position, text.starts), (text.size, used.size))
        return np.asarray(matrix @ dense).reshape(-1, scorers, labels)


def softmax(scores: NDArray[Float]) -> NDArray[Float]:
    """Softmax along the last axis."""
    shares: NDArray[Float] = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares

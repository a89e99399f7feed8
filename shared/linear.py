"""Weights of linear scorers over encoded rows, kept as small integers.

A float32 for each of 33,000 columns and hundreds of labels would be most of a model's size, in
memory and on disk. Eight bits and a scale a column lose nothing that a test row shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shared.encode import Grams

FloatArray = NDArray[np.float32]
Float = TypeVar("Float", np.float32, np.float64)

_LARGEST = 127


@dataclass(frozen=True, slots=True)
class Weights:
    """S scorers side by side, each with one weight a column for each of K labels.

    Attributes:
        values: shape (WIDTH, S, K), int8.
        scale: what a unit of them is worth, shape (WIDTH, S, 1), float32.
    """

    values: NDArray[np.int8]
    scale: FloatArray

    @classmethod
    def of(cls, weights: FloatArray) -> Self:
        """Round *weights*, shape (WIDTH, S, K), by at most 1/254 of the largest of their column."""
        scale = np.maximum(np.abs(weights).max(axis=2, keepdims=True), np.float32(1e-30)) / _LARGEST
        return cls(np.rint(weights / scale).astype(np.int8), scale.astype(np.float32))

    def score(self, grams: Grams, entries: FloatArray) -> FloatArray:
        """The scores of each row: shape (n, S, K). No row sees another.

        *entries* are what stands in grams.columns, a sparse matrix (n, WIDTH).
        """
        width, scorers, labels = self.values.shape
        if grams.size == 1:  # a sparse matrix would cost as much as the sums
            one = self.values[grams.columns] * self.scale[grams.columns]
            one *= entries[:, None, None]
            return np.asarray(one.sum(axis=0, keepdims=True))
        is_used = np.zeros(width, dtype=np.bool_)
        is_used[grams.columns] = True
        used = np.flatnonzero(is_used)
        place = (np.cumsum(is_used, dtype=np.int32) - 1)[grams.columns]
        dense = (self.values[used] * self.scale[used]).reshape(used.size, scorers * labels)
        matrix = csr_array((entries, place, grams.starts), (grams.size, used.size))
        return np.asarray(matrix @ dense).reshape(-1, scorers, labels)


def softmax(scores: NDArray[Float]) -> NDArray[Float]:
    """Scores as shares of one, along the last axis."""
    shares: NDArray[Float] = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return shares


def shares_of(scores: FloatArray) -> FloatArray:
    """The softmax of float32 scores, the same bits on every machine and in kernel.c.

    Steps that every machine rounds alike, in one order; numpy's own exponential depends on what the
    processor has.
    """
    shares = _exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.cumsum(axis=-1)[..., -1:]  # unlike sum, cumsum adds one after the other
    return shares


_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_EXP_LEAST = np.float32(-87.0)  # nearly the least float32 that is no subnormal
_EXP = tuple(
    np.float32(step)
    for step in (1.9875691e-4, 1.3981999e-3, 8.3334519e-3, 4.1665796e-2, 0.16666666, 0.5)
)


def _exp(x: FloatArray) -> FloatArray:
    """e to the power of *x*, none above 0, to one part in ten million.

    Source: expf of Moshier's Cephes library.
    """
    x = np.maximum(x, _EXP_LEAST)
    power = np.rint(x * _LOG2_E)
    x = x - power * _LN2_HIGH
    x -= power * _LN2_LOW
    series = np.full_like(x, _EXP[0])
    for step in _EXP[1:]:
        series *= x
        series += step
    series *= x * x
    series += x
    series += 1
    exponential: FloatArray = np.ldexp(series, power.astype(np.int32))
    return exponential

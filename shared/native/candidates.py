"""Candidate generation in C, over arrays and sizes only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.native.library import Array, NativeFunction

# In the order of `generator` in kernel.c, where their shapes stand.
_ARRAYS: dict[str, type[np.generic]] = {
    "idf": np.float32,
    "one_hot": np.float32,
    "known": np.bool_,
    "weights": np.int8,
    "weights_scale": np.float32,
    "log_prior": np.float32,
    "amount_ratio": np.float32,
    "weekday_ratio": np.float32,
    "channel_ratio": np.float32,
    "is_open": np.bool_,
    "keys": np.uint64,
    "starts": np.int32,
    "labels": np.int32,
    "pair_stats": np.float32,
    "pair_last": np.float32,
    "key_stats": np.float32,
    "proposed": np.int32,
    "proposed_share": np.float32,
}


class NativeCandidateGenerator:
    """The arrays of a candidate generator, for the kernel.

    Args:
        arrays: all of _ARRAYS; copied only where their layout is not that of C.
        open_columns: how many of the linear models' labels are open.
        candidate_count: M, how many labels a row gets.
        feature_count: f, of a (row, candidate) pair.
        unknown_day: stands for an unknown date.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        *,
        open_columns: int,
        candidate_count: int,
        feature_count: int,
        unknown_day: int,
    ) -> None:
        column_count = arrays["log_prior"].size
        self._shape = candidate_count, feature_count
        self._scratch_size = 5 * column_count
        config: list[int | float | Array] = [
            arrays["is_open"].size,
            column_count,
            open_columns,
            arrays["keys"].size,
            arrays["labels"].size,
            unknown_day,
            *(np.ascontiguousarray(arrays[name], dtype) for name, dtype in _ARRAYS.items()),
        ]
        self._generate = NativeFunction("generate_candidates", config, 7)

    def generate(
        self, columns: NDArray[np.int32], starts: NDArray[np.int32], rows: NDArray[np.void]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """The labels, linear scores and features of n rows: (n, M), (n, M) and (n, M, f).

        Each row is handled on its own.

        Args:
            columns, starts: as in shared.features.encoder.SparseRows.
            rows: shape (n,), as `row` in kernel.c.
        """
        n, (m, f) = rows.size, self._shape
        labels = np.empty((n, m), dtype=np.int64)
        linear = np.empty((n, m), dtype=np.float32)
        features = np.empty((n, m, f), dtype=np.float32)
        scratch = np.empty(self._scratch_size, dtype=np.float32)
        if n:
            self._generate(n, columns, starts, rows, scratch, labels, linear, features)
        return labels, linear, features

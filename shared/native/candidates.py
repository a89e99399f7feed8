"""Candidate generation in C. It knows arrays and sizes only."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from shared.native import library

Array = NDArray[np.generic]

_SIZES = ("k", "m", "e", "first_one_hot", "unknown_day")
_ARRAYS: dict[str, type[np.generic]] = {
    "idf": np.float32,
    "known": np.bool_,
    "weights": np.int8,
    "scale": np.float32,
    "log_prior": np.float32,
    "amount_ratio": np.float32,
    "weekday_ratio": np.float32,
    "channel_ratio": np.float32,
    "keys": np.uint64,
    "starts": np.int32,
    "labels": np.int32,
    "pair_stats": np.float32,
    "pair_last": np.float32,
    "key_stats": np.float32,
    "proposed": np.int32,
    "proposed_share": np.float32,
}


class _Config(ctypes.Structure):
    """`base` in kernel.c."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES),
        ("one_hot", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
    )


class NativeCandidateGenerator:
    """The arrays of a candidate generator, where the kernel finds them.

    Args:
        arrays: by the names in `base` of kernel.c, where their shapes stand; copied only where
            they are not as C reads them.
        first_one_hot: columns from here on hold one_hot_weight instead of a TF-IDF weight.
        one_hot_weight: see there.
        candidate_count: M, how many labels a row gets.
        feature_count: of a (row, candidate) pair.
        unknown_day: stands for a date that is not known.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        *,
        first_one_hot: int,
        one_hot_weight: float,
        candidate_count: int,
        feature_count: int,
        unknown_day: int,
    ) -> None:
        # Held for as long as the kernel has their addresses.
        self._arrays = {
            name: np.ascontiguousarray(arrays[name], dtype) for name, dtype in _ARRAYS.items()
        }
        label_count = arrays["log_prior"].size
        self._shape = candidate_count, feature_count
        self._scratch = 5 * label_count + 1
        config = _Config(
            label_count,
            arrays["keys"].size,
            arrays["labels"].size,
            first_one_hot,
            unknown_day,
            one_hot_weight,
            *(array.ctypes.data for array in self._arrays.values()),
        )
        self._propose = library.NativeFunction("propose", config, 7)

    def propose(
        self, columns: NDArray[np.int32], starts: NDArray[np.int32], rows: NDArray[np.void]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """The labels, linear scores and features of n rows: (n, M), (n, M) and (n, M, f).

        No row sees another.

        Args:
            columns, starts: as in shared.features.encoder.Grams.
            rows: shape (n,), as `row` in kernel.c.
        """
        n, (m, f) = rows.size, self._shape
        labels = np.empty((n, m), dtype=np.int64)
        linear = np.empty((n, m), dtype=np.float32)
        features = np.empty((n, m, f), dtype=np.float32)
        scratch = np.empty(self._scratch, dtype=np.float32)
        if n:
            self._propose(n, columns, starts, rows, scratch, labels, linear, features)
        return labels, linear, features

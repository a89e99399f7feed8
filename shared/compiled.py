"""A fitted base whose inner loops are compiled: the same proposals as in shared/candidates.py."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared import kernel
from shared.encode import FIRST_ONE_HOT, ONE_HOT_WEIGHT

if TYPE_CHECKING:
    from shared.candidates import Base, Inputs

_SIZES = ("k", "m", "e", "first_one_hot", "unknown_day")
_ARRAYS = (
    "idf", "known", "weights", "scale", "log_prior", "amount_ratio", "weekday_ratio",
    "channel_ratio", "keys", "starts", "labels", "pair_stats", "pair_last", "key_stats", "proposed",
    "proposed_share",
)  # fmt: skip


class _About(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in _SIZES),
        ("one_hot", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in _ARRAYS),
    )


class Proposed(NamedTuple):
    """As shared.candidates.Proposal."""

    labels: NDArray[np.int64]
    linear: NDArray[np.float32]
    features: NDArray[np.float32]


class CompiledBase:
    """The arrays of a base, where the compiled loops find them.

    Args:
        base: its arrays are kept, and copied only where they are not as C reads them.
        features: how many a pair has.
        candidates: how many labels a row gets at most.
        unknown_day: stands for a date that is not known.
    """

    def __init__(self, base: Base, features: int, candidates: int, unknown_day: int) -> None:
        history, weights = base.history, base.weights
        self._k, self._features = base.label_count, features
        self._m = min(self._k, candidates)
        kept = {
            name: kernel.pointer(array, dtype)
            for name, array, dtype in (
                ("idf", base.encoder.idf, np.float32),
                ("known", base.encoder.known, np.bool_),
                ("weights", weights.values, np.int8),
                ("scale", weights.scale, np.float32),
                ("log_prior", base.log_prior, np.float32),
                ("amount_ratio", base.amount_ratio, np.float32),
                ("weekday_ratio", base.weekday_ratio, np.float32),
                ("channel_ratio", base.channel_ratio, np.float32),
                ("keys", history.keys, np.uint64),
                ("starts", history.starts, np.int32),
                ("labels", history.labels, np.int32),
                ("pair_stats", history.pair_stats, np.float32),
                ("pair_last", history.pair_last, np.float32),
                ("key_stats", history.key_stats, np.float32),
                ("proposed", history.proposed, np.int32),
                ("proposed_share", history.proposed_share, np.float32),
            )
        }
        self._kept = [array for array, _ in kept.values()]
        about = _About(
            self._k, history.keys.size, history.labels.size, FIRST_ONE_HOT, unknown_day,
            ONE_HOT_WEIGHT, *[kept[name][1] for name in _ARRAYS],
        )  # fmt: skip
        self._propose = kernel.Loop("propose", about, 7)

    def propose(self, inputs: Inputs) -> Proposed:
        """The candidates of each row and the features of each pair. No row sees another."""
        (columns, starts), rows = inputs
        n, m, k = rows.size, self._m, self._k
        labels = np.empty((n, m), dtype=np.int64)
        linear = np.empty((n, m), dtype=np.float32)
        features = np.empty((n, m, self._features), dtype=np.float32)
        scratch = np.empty(5 * k + 1, dtype=np.float32)
        if n:
            self._propose(n, columns, starts, rows, scratch, labels, linear, features)
        return Proposed(labels, linear, features)

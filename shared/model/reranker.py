"""The LightGBM reranker, read from its text and called through LightGBM's documented C interface.

The Python package is not used: it imports pandas and scikit-learn, which only training needs, and
prepares longer than the trees take for one row. The library and the scores are the same. The kernel
scores instead where training found it equal.

Source: https://lightgbm.readthedocs.io/en/stable/C-API.html
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.log import get_logger
from shared.native import library
from shared.native.quickscorer import QuickScorer

MAX_ABS_ERROR = 1e-9  # of log-odds, for the kernel to be used

_FLOAT32, _ROW_MAJOR = 0, 1  # C_API_DTYPE_FLOAT32, is_row_major
_RAW_SCORE, _CONTRIBUTIONS = 1, 3  # C_API_PREDICT_RAW_SCORE, C_API_PREDICT_CONTRIB
# One thread, and the same parameters in every call: only then may threads share a model.
_PARAMETERS = b"num_threads=1 verbosity=-1"

FloatArray = NDArray[np.float32]
Scores = NDArray[np.float64]
_log = get_logger()


class Reranker:
    """Scores (row, candidate) pairs; any number of threads may use it at once.

    Args:
        text: as LightGBM wrote it. Only such text: its parser may end the process on other.
        max_abs_error: the `max_abs_difference` measured at training, None where it was not. Up to
            MAX_ABS_ERROR the kernel scores, else LightGBM.

    Raises:
        ValueError: LightGBM refuses the text.
    """

    def __init__(self, text: str, max_abs_error: float | None = None) -> None:
        self._handle = ctypes.c_void_p()
        _call(
            "LGBM_BoosterLoadModelFromString",
            ctypes.c_char_p(text.encode()),
            ctypes.byref(ctypes.c_int()),
            ctypes.byref(self._handle),
        )
        # The first explanation writes the depth of every tree: two at once could see half of it.
        self._one_at_a_time = threading.Lock()
        weakref.finalize(self, _lightgbm().LGBM_BoosterFree, self._handle)
        is_equal = max_abs_error is not None and max_abs_error <= MAX_ABS_ERROR
        self._native = _native(text) if is_equal else None

    def log_odds(self, features: FloatArray) -> Scores:
        """The log-odds of each candidate of each row: (n, M, f) to (n, M)."""
        n, m, width = features.shape
        return self.scores(features.reshape(n * m, width), m).reshape(n, m)

    def scores(self, rows: FloatArray, group: int = 1) -> Scores:
        """The sum of the trees for each row, (n, f) to (n,); see QuickScorer about *group*."""
        if self._native:
            return self._native.scores(rows, group)
        return self._predict(rows, _RAW_SCORE, 1)[:, 0]

    def contributions(self, rows: FloatArray) -> Scores:
        """What each feature added to each score, the bias last: (n, f) to (n, f + 1); TreeSHAP."""
        with self._one_at_a_time:
            return self._predict(rows, _CONTRIBUTIONS, rows.shape[1] + 1)

    def _predict(self, rows: FloatArray, kind: int, width: int) -> Scores:
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        result = np.empty((len(rows), width), dtype=np.float64)
        _call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            rows.ctypes,
            ctypes.c_int(_FLOAT32),
            ctypes.c_int32(rows.shape[0]),
            ctypes.c_int32(rows.shape[1]),
            ctypes.c_int(_ROW_MAJOR),
            ctypes.c_int(kind),
            ctypes.c_int(0),  # from the first tree
            ctypes.c_int(-1),  # to the last
            _PARAMETERS,
            ctypes.byref(ctypes.c_int64()),
            result.ctypes,
        )
        return result


def max_abs_difference(text: str, features: FloatArray) -> float | None:
    """The largest difference of the kernel's log-odds from LightGBM's, for *features* (n, M, f).

    None where there is no kernel, or it does not support this model.
    """
    native = _native(text)
    if native is None:
        return None
    n, m, width = features.shape
    rows = features.reshape(n * m, width)
    return float(np.abs(native.scores(rows, m) - Reranker(text).scores(rows)).max())


def _native(text: str) -> QuickScorer | None:
    if not library.is_available():
        return None
    try:
        return QuickScorer(text)
    except ValueError as error:
        _log.warning("forest.not_compiled", error=str(error))
        return None


def _call(function: str, *arguments: object) -> None:
    if getattr(_lightgbm(), function)(*arguments) != 0:
        raise ValueError(f"LightGBM: {_lightgbm().LGBM_GetLastError().decode()}")


@lru_cache(maxsize=1)
def _lightgbm() -> ctypes.CDLL:
    """LightGBM's library; loaded late, since it must come after any fork."""
    package = find_spec("lightgbm")
    if package is None or not package.submodule_search_locations:
        raise ImportError("lightgbm is not installed")
    folder = Path(package.submodule_search_locations[0]) / "lib"
    loaded = ctypes.CDLL(str(next(folder.glob("lib_lightgbm.*"))))
    loaded.LGBM_GetLastError.restype = ctypes.c_char_p
    return loaded

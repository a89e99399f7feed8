"""The LightGBM reranker, read from its text and called through LightGBM's documented C interface.

Not through its Python package: that imports pandas and scikit-learn, which only training needs, and
its preparations take longer than the forest itself for one row. The library is the same, and so are
the scores. The kernel scores instead where training found it equal; see trees.py.

Source: https://lightgbm.readthedocs.io/en/stable/C-API.html
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.log import get_logger
from shared.native import library as kernel
from shared.native.quickscorer import QuickScorer

MAX_ABS_ERROR = 1e-9  # of log-odds

_FLOAT32, _ROW_MAJOR = 0, 1  # C_API_DTYPE_FLOAT32, is_row_major
_RAW_SCORE, _CONTRIBUTIONS = 1, 3  # C_API_PREDICT_RAW_SCORE, C_API_PREDICT_CONTRIB
# One thread, and the same parameters in every call: only then may threads share a forest.
_PARAMETERS = b"num_threads=1 verbosity=-1"

FloatArray = NDArray[np.float32]
Scores = NDArray[np.float64]
_log = get_logger()


class Reranker:
    """A forest that any number of threads may use at once.

    Args:
        text: as LightGBM wrote it. Only such text: its parser may end the process on other.
        agreement: the `difference` found at training; None where it was not measured. Up to
            AGREEMENT the kernel scores, else LightGBM.

    Raises:
        ValueError: LightGBM refuses the text.
    """

    def __init__(self, text: str, agreement: float | None = None) -> None:
        self._handle = ctypes.c_void_p()
        _call(
            "LGBM_BoosterLoadModelFromString",
            ctypes.c_char_p(text.encode()),
            ctypes.byref(ctypes.c_int()),
            ctypes.byref(self._handle),
        )
        # The first explanation notes the depth of every tree: two at once could see it half noted.
        self._one_at_a_time = threading.Lock()
        weakref.finalize(self, _library().LGBM_BoosterFree, self._handle)
        equal = agreement is not None and agreement <= MAX_ABS_ERROR
        self._trees = _native(text) if equal else None

    def log_odds(self, features: FloatArray) -> Scores:
        """The log-odds of each candidate of each row: (n, M, f) to (n, M)."""
        return _odds(self.raw_scores, features)

    def raw_scores(self, lines: FloatArray, group: int = 1) -> Scores:
        """The sum of the trees for each line, shape (n, f) to (n,); see Trees of *group*."""
        if self._trees:
            return self._trees.raw_scores(lines, group)
        return self._predict(lines, _RAW_SCORE, 1)[:, 0]

    def contributions(self, lines: FloatArray) -> NDArray[np.float64]:
        """What each feature added to each score, the bias last: (n, f) to (n, f + 1); TreeSHAP."""
        with self._one_at_a_time:
            return self._predict(lines, _CONTRIBUTIONS, lines.shape[1] + 1)

    def _predict(self, lines: FloatArray, kind: int, width: int) -> NDArray[np.float64]:
        lines = np.ascontiguousarray(lines, dtype=np.float32)
        answers = np.empty((len(lines), width), dtype=np.float64)
        _call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            lines.ctypes,
            ctypes.c_int(_FLOAT32),
            ctypes.c_int32(lines.shape[0]),
            ctypes.c_int32(lines.shape[1]),
            ctypes.c_int(_ROW_MAJOR),
            ctypes.c_int(kind),
            ctypes.c_int(0),  # from the first tree
            ctypes.c_int(-1),  # to the last
            _PARAMETERS,
            ctypes.byref(ctypes.c_int64()),
            answers.ctypes,
        )
        return answers


def max_abs_difference(text: str, features: FloatArray) -> float | None:
    """The largest difference of the kernel's log-odds from LightGBM's, for *features* (n, M, f).

    None where the kernel is not there, or cannot read this forest.
    """
    trees = _native(text)
    if trees is None:
        return None
    return float(
        np.abs(_odds(trees.raw_scores, features) - Reranker(text).log_odds(features)).max()
    )


def _odds(scores: Callable[[FloatArray, int], Scores], features: FloatArray) -> Scores:
    n, m, width = features.shape
    return scores(features.reshape(n * m, width), m).reshape(n, m)


def _native(text: str) -> QuickScorer | None:
    if not kernel.is_available():
        return None
    try:
        return QuickScorer(text)
    except ValueError as error:
        _log.warning("forest.not_compiled", error=str(error))
        return None


def _call(function: str, *arguments: object) -> None:
    if getattr(_library(), function)(*arguments) != 0:
        raise ValueError(f"LightGBM: {_library().LGBM_GetLastError().decode()}")


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    """LightGBM's library; loaded late, since it must come after any fork."""
    package = find_spec("lightgbm")
    if package is None or not package.submodule_search_locations:
        raise ImportError("lightgbm is not installed")
    folder = Path(package.submodule_search_locations[0]) / "lib"
    library = ctypes.CDLL(str(next(folder.glob("lib_lightgbm.*"))))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library

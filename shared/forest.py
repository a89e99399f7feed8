"""A trained forest, read from LightGBM's text and asked through LightGBM's documented C interface.

Not through its Python package: that imports pandas and scikit-learn, which only training needs, and
its preparations take longer than the forest itself for one row. The library and so the answers are
the same. Where a compiled loop was shown to give these answers too, it gives them; see trees.py.

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

from shared import kernel
from shared.log import get_logger
from shared.trees import Trees

AGREEMENT = 1e-9  # of log-odds

_FLOAT32, _ROW_MAJOR = 0, 1  # C_API_DTYPE_FLOAT32, is_row_major
_RAW_SCORE, _CONTRIBUTIONS = 1, 3  # C_API_PREDICT_RAW_SCORE, C_API_PREDICT_CONTRIB
# One thread, and the same parameters in every call: only then may threads share a forest.
_PARAMETERS = b"num_threads=1 verbosity=-1"

FloatArray = NDArray[np.float32]
_log = get_logger()


class Forest:
    """Trees whose answers any number of threads may ask for at once.

    Args:
        text: as LightGBM wrote it. Only such text: its parser may end the process on other.
        agreement: the `difference` that was found; up to AGREEMENT the compiled loop answers.

    Raises:
        ValueError: LightGBM refuses the text.
    """

    def __init__(self, text: str, agreement: float | None = None) -> None:
        is_shown = agreement is not None and agreement <= AGREEMENT
        self._trees = _compiled(text) if is_shown else None
        self._handle = ctypes.c_void_p()
        trees = ctypes.c_int()
        _call(
            "LGBM_BoosterLoadModelFromString",
            ctypes.c_char_p(text.encode()),
            ctypes.byref(trees),
            ctypes.byref(self._handle),
        )
        # The first explanation notes the depth of every tree: two at once could see it half noted.
        self._one_at_a_time = threading.Lock()
        weakref.finalize(self, _library().LGBM_BoosterFree, self._handle)

    def raw_scores(self, lines: FloatArray, group: int = 1) -> NDArray[np.float64]:
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


def difference(text: str, lines: FloatArray) -> float | None:
    """By how much the compiled loop's scores of *lines* differ at most from LightGBM's own.

    None where it cannot be said: there is no compiled loop, or this forest has what it cannot read.
    """
    trees = _compiled(text)
    if trees is None:
        return None
    return float(np.abs(trees.raw_scores(lines) - Forest(text).raw_scores(lines)).max())


def _compiled(text: str) -> Trees | None:
    if not kernel.is_there():
        return None
    try:
        return Trees(text)
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

"""The C library of kernel.c, where it was built for this machine.

Without it, NumPy and LightGBM give the same answers and take longer.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.native.build import LIBRARY, source_digest

ENV_VAR = "LEDGER_KERNEL"  # `off` turns the kernel off
# Up to so many rows hold the interpreter lock: a thread that gives it up for microseconds waits
# milliseconds to get it back from one that computes, and its mean prediction takes four times as
# long. With many rows the others would wait.
HOLD_GIL_MAX_ROWS = 64

Array = NDArray[np.generic]

POINTER = ctypes.POINTER(ctypes.c_byte)
# The pointer of a contiguous, writable array. `array.ctypes.data` takes six times as long, which
# for the arrays of one row is a fifth of its prediction.
pointer: Any = ctypes.c_byte.from_buffer


class NativeFunction:
    """A function of the kernel that takes a structure, a number of rows and some arrays.

    Args:
        name: of the function.
        config: the fields of the structure, in order; contiguous arrays become pointers.
        array_count: how many arrays follow the number of rows.
    """

    def __init__(self, name: str, config: Sequence[int | float | Array], array_count: int) -> None:
        self._arrays = [value for value in config if isinstance(value, np.ndarray)]  # keeps alive
        fields = [(f"field_{index}", _c_type(value)) for index, value in enumerate(config)]
        structure = type("Config", (ctypes.Structure,), {"_fields_": fields})
        self._config = structure(
            *(value.ctypes.data if isinstance(value, np.ndarray) else value for value in config)
        )
        self._address = ctypes.c_void_p(ctypes.addressof(self._config))
        parameters = ctypes.c_void_p, ctypes.c_int64, *[POINTER] * array_count
        self._hold_gil = load_function(name, parameters)
        self._release_gil = load_function(name, parameters, library=ctypes.CDLL)

    def __call__(self, rows: int, *arrays: Array | array[int]) -> None:
        """Go through at least one row; the arrays are contiguous and writable."""
        call = self._hold_gil if rows <= HOLD_GIL_MAX_ROWS else self._release_gil
        call(self._address, rows, *map(pointer, arrays))


def _c_type(value: float | Array) -> type[Any]:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p
    return ctypes.c_float if isinstance(value, float) else ctypes.c_int64


def load_function(
    name: str,
    parameters: Sequence[Any],
    *,
    result: Any = None,
    library: type[ctypes.CDLL] = ctypes.PyDLL,
) -> Callable[..., Any]:
    """A function of the library. A PyDLL holds the interpreter lock, a CDLL releases it."""
    function = getattr(library(str(LIBRARY)), name)
    function.argtypes, function.restype = parameters, result
    return function  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def is_available() -> bool:
    """Whether the library can be loaded and was built from this very source."""
    if os.environ.get(ENV_VAR) == "off":
        return False
    try:
        digest = load_function("kernel_source", (), result=ctypes.c_char_p)()
    except (OSError, AttributeError):
        return False
    return bool(digest == source_digest().encode())

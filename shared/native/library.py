"""Loads the C kernel, kernel.c, where it was built for this machine.

Without it, NumPy and LightGBM give the same answers and take longer. `make` and the image build
it; a library of another source is not used.
"""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("kernel.c")
LIBRARY = Path(__file__).with_name("libkernel.so")
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
        config: the structure, the same in every call.
        array_count: how many arrays follow the number of rows.
    """

    def __init__(self, name: str, config: ctypes.Structure, array_count: int) -> None:
        self._config = config
        parameters = (ctypes.POINTER(type(config)), ctypes.c_int64, *[POINTER] * array_count)
        self._holding = function(name, parameters)
        self._releasing = function(name, parameters, library=ctypes.CDLL)

    def __call__(self, rows: int, *arrays: Array | array[int]) -> None:
        """Go through at least one row; the arrays are contiguous and writable."""
        call = self._holding if rows <= HOLD_GIL_MAX_ROWS else self._releasing
        call(self._config, rows, *map(pointer, arrays))


def function(
    name: str,
    parameters: Sequence[Any],
    *,
    result: Any = None,
    library: type[ctypes.CDLL] = ctypes.PyDLL,
) -> Callable[..., Any]:
    """A function of the library. A PyDLL holds the interpreter lock, a CDLL releases it."""
    found = getattr(library(str(LIBRARY)), name)
    found.argtypes, found.restype = parameters, result
    return found  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def is_available() -> bool:
    """Whether the library can be loaded and was built from this very source."""
    if os.environ.get(ENV_VAR) == "off":
        return False
    try:
        source = ctypes.CDLL(str(LIBRARY)).kernel_source
    except (OSError, AttributeError):
        return False
    source.restype = ctypes.c_char_p
    return bool(source() == source_digest().encode())


def source_digest() -> str:
    """SHA-256 of the source; the library carries that of its own."""
    return sha256(SOURCE.read_bytes()).hexdigest()

"""The compiled inner loops of a prediction, where a C compiler was at hand: see kernel.c.

What they answer is what the Python beside them answers, to the bit; without them it takes longer.
`make` builds them, and so does the image; a library of another source, or another machine's, is
left alone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SOURCE = Path(__file__).with_name("kernel.c")
LIBRARY = Path(__file__).with_name("libkernel.so")
SWITCH = "LEDGER_KERNEL"  # set to `off`, the Python is used
FEW = 64  # rows that are gone through without letting other threads run

Array = NDArray[np.generic]
Function = Callable[..., Any]


class Loop:
    """A function of the library, for few rows or many.

    A thread that lets go of the interpreter for some microseconds waits for milliseconds to get it
    back from one that computes; with many rows it is the others that would wait.

    Args:
        name: of the function, which takes *about*, a number of rows and *arrays* pointers.
    """

    def __init__(self, name: str, about: ctypes.Structure, arrays: int) -> None:
        self._about = about
        parameters = (
            ctypes.POINTER(type(about)), ctypes.c_int64, *[ctypes.POINTER(ctypes.c_byte)] * arrays,
        )  # fmt: skip
        self._few = function(name, parameters)
        self._many = function(name, parameters, library=ctypes.CDLL)

    def __call__(self, rows: int, *arrays: Array) -> None:
        """Go through at least one row; the arrays are as C has them, contiguous and writable."""
        call = self._few if rows <= FEW else self._many
        call(self._about, rows, *map(first_byte, arrays))  # its address, in a third of the time


first_byte: Any = ctypes.c_byte.from_buffer  # of an array, for a pointer to it


def function(
    name: str,
    parameters: Sequence[Any],
    *,
    result: Any = None,
    library: type[ctypes.CDLL] = ctypes.PyDLL,
) -> Function:
    """A function of the library; other threads wait for it, unless it is one of a CDLL."""
    found = getattr(library(str(LIBRARY)), name)
    found.argtypes, found.restype = parameters, result
    return found  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def is_there() -> bool:
    """Whether the library can be used, and is of this very source."""
    if os.environ.get(SWITCH) == "off":
        return False
    try:
        source = ctypes.CDLL(str(LIBRARY)).kernel_source
    except (OSError, AttributeError):
        return False
    source.restype = ctypes.c_char_p
    return bool(source() == digest().encode())


def digest() -> str:
    """Of the source; the library carries that of its own."""
    return sha256(SOURCE.read_bytes()).hexdigest()


def pointer(array: Array, dtype: Any) -> tuple[Array, int]:
    """*array* as C reads it, to be kept as long as the address beside it is used."""
    kept = np.ascontiguousarray(array, dtype=dtype)
    return kept, kept.ctypes.data

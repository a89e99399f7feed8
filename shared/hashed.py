"""Which columns a text sets: its hashes, and those of its runs of characters, modulo TEXT_COLUMNS.

Hashes are CRC-32. With a C compiler at hand the loop over the runs is compiled; see kernel.c.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shared import kernel
from shared.log import get_logger

IntArray = NDArray[np.int32]
Columns = Callable[[Sequence[int], str, int, int, bool], IntArray]

TEXT_COLUMNS = 2**14
_log = get_logger()

_TRIED = ("", " ", " x ", " tim hortons 2392 ", " łódź ☃ 東京 𝄞 ", " a b " * 30)


def columns(
    hashes: Sequence[int], text: str, least: int, most: int, *, in_words: bool = False
) -> IntArray:
    """The columns of *hashes* and of every run of *least* to *most* characters of *text*.

    Each character counts as four bytes, so any script does.

    Args:
        hashes: 32 bits each.
        in_words: leave runs out that have a space within; at their ends they may have one.

    Returns:
        Shape (m,), ascending, each once.
    """
    return loop()(hashes, text, least, most, in_words)


def columns_plainly(
    hashes: Sequence[int], text: str, least: int, most: int, in_words: bool
) -> IntArray:
    """The same without the compiled loop."""
    found = {value % TEXT_COLUMNS for value in hashes}
    for size in range(least, most + 1):
        found.update(value % TEXT_COLUMNS for value in _runs(text, size, in_words))
    return np.array(sorted(found), dtype=np.int32)


def _runs(text: str, size: int, in_words: bool) -> Iterator[int]:
    wide = text.encode("utf-32-le")
    for start in range(len(text) - size + 1):
        if not in_words or " " not in text[start + 1 : start + size - 1]:
            yield crc32(wide[4 * start : 4 * (start + size)])


@lru_cache(maxsize=1)
def loop() -> Columns:
    """The compiled loop, if it is there and says the same of some texts; else the Python."""
    compiled = _compiled() if kernel.is_there() else None
    if compiled is None:
        return columns_plainly
    for text in _TRIED:
        for asked in (([2**32 - 1, 7, 7], text, 3, 5, False), ([], text, 4, 4, True)):
            if not np.array_equal(compiled(*asked), columns_plainly(*asked)):
                _log.error("hashed.compiled_differs")
                return columns_plainly
    return compiled


def _compiled() -> Columns:
    size, bytes_, buffer = ctypes.c_int64, ctypes.c_char_p, ctypes.POINTER(ctypes.c_byte)
    call = kernel.function(
        "columns", (buffer, size, bytes_, size, size, size, size, buffer), result=size
    )

    def columns_of(
        hashes: Sequence[int], text: str, least: int, most: int, in_words: bool
    ) -> IntArray:
        given = array("I", hashes or (0,))
        out = np.empty(len(hashes) + (most - least + 1) * len(text) + 1, dtype=np.int32)
        found = call(
            kernel.first_byte(given), len(hashes), text.encode("utf-32-le"), len(text),
            least, most, in_words, kernel.first_byte(out),
        )  # fmt: skip
        return out[:found].copy()

    return columns_of

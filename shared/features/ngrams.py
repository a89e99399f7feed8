"""Feature hashing: the columns of a text's words and character n-grams, CRC-32 % TEXT_COLUMNS."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from shared.native import library

IntArray = NDArray[np.int32]

TEXT_COLUMNS = 2**14


def ngram_columns(
    hashes: Sequence[int], text: str, least: int, most: int, *, in_words: bool = False
) -> IntArray:
    """The columns of *hashes* and of every n-gram of *least* to *most* characters of *text*.

    Each character counts as four bytes, so all scripts work alike.

    Args:
        hashes: 32 bits each.
        in_words: leave out n-grams with a space inside; at their ends they may have one.

    Returns:
        Shape (m,), ascending, each once.
    """
    if not library.is_available():
        return ngram_columns_reference(hashes, text, least, most, in_words)
    values = array("I", hashes or (0,))
    out = np.empty(len(hashes) + (most - least + 1) * len(text) + 1, dtype=np.int32)
    count = _native()(
        library.pointer(values), len(hashes), text.encode("utf-32-le"), len(text),
        least, most, in_words, library.pointer(out),
    )  # fmt: skip
    return out[:count].copy()


def ngram_columns_reference(
    hashes: Sequence[int], text: str, least: int, most: int, in_words: bool
) -> IntArray:
    """The same in Python."""
    columns = {value % TEXT_COLUMNS for value in hashes}
    for size in range(least, most + 1):
        columns.update(value % TEXT_COLUMNS for value in _ngrams(text, size, in_words))
    return np.array(sorted(columns), dtype=np.int32)


def _ngrams(text: str, size: int, in_words: bool) -> Iterator[int]:
    wide = text.encode("utf-32-le")
    for start in range(len(text) - size + 1):
        if not in_words or " " not in text[start + 1 : start + size - 1]:
            yield crc32(wide[4 * start : 4 * (start + size)])


@lru_cache(maxsize=1)
def _native() -> Callable[..., int]:
    size = ctypes.c_int64
    parameters = (
        library.POINTER, size, ctypes.c_char_p, size, size, size, size, library.POINTER,
    )  # fmt: skip
    return library.load_function("ngram_columns", parameters, result=size)

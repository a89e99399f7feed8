"""Encoder from feature rows to a sparse matrix: hashed n-grams with TF-IDF weights, one-hots.

Training and serving use the same functions, and each row is encoded on its own. Hashes are CRC-32,
so a matrix is the same in every process and on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shared.features.extract import CHANNELS, FeatureRow
from shared.features.ngrams import TEXT_COLUMNS, ngram_columns
from shared.text.cache import cached

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

AMOUNT_BINS = 48
UNKNOWN_AMOUNT = AMOUNT_BINS // 2 - 1
ONE_HOT_WEIGHT = 0.3  # of a one-hot column; the text columns of a row have norm one

_DESCRIPTION = TEXT_COLUMNS  # the first column of descriptions, after those of merchants
FIRST_ONE_HOT = _AMOUNT = 2 * TEXT_COLUMNS
_CHANNEL = _AMOUNT + AMOUNT_BINS
WIDTH = _CHANNEL + len(CHANNELS)

_MERCHANT_MAX = 80  # characters read; a longer line is a sentence, not a name
_DESCRIPTION_MAX = 120
_CHANNEL_COLUMNS = {name: _CHANNEL + index for index, name in enumerate(CHANNELS)}


def amount_bin(amount: float | None) -> int:
    """The half-log bin of a signed amount: 0..22 money in, 24..47 money out, 23 unknown.

    >>> amount_bin(12.5), amount_bin(-12.5), amount_bin(None)
    (5, 29, 23)
    """
    if amount is None or not math.isfinite(amount):
        return UNKNOWN_AMOUNT
    size = min(int(2 * math.log1p(abs(amount))), UNKNOWN_AMOUNT - 1)
    return size + AMOUNT_BINS // 2 if amount < 0 else size


def columns_of(row: FeatureRow) -> list[IntArray]:
    """The columns that *row* sets, each once: its text, then one for amount, one for channel."""
    pieces = [_merchant_columns(row.line)]
    if row.norm_desc or row.mcc:
        pieces.append(_description_columns(row.norm_desc, row.mcc))
    channel = _CHANNEL_COLUMNS.get(row.channel, _CHANNEL)
    pieces.append(_one_hots(_AMOUNT + amount_bin(row.amount), channel))
    return pieces


def word_columns(row: FeatureRow) -> list[tuple[str, int]]:
    """The words and pairs of words of *row*, each with its column in `columns_of`.

    Each column occurs once; of texts whose hashes collide, the first counts.
    """
    by_column: dict[int, str] = {}
    for text, start in (
        (row.line[:_MERCHANT_MAX], 0),
        (row.norm_desc[:_DESCRIPTION_MAX], _DESCRIPTION),
    ):
        words = text.split()
        texts = [*words, *map(" ".join, pairwise(words))]
        for name, value in zip(texts, _word_hashes(words), strict=True):
            by_column.setdefault(start + value % TEXT_COLUMNS, name)
    return [(name, column) for column, name in by_column.items()]


class SparseRows(NamedTuple):
    """The columns that each of n rows sets: a sparse binary matrix, (n, WIDTH)."""

    columns: IntArray  # of the first row, then of the next
    starts: IntArray  # (n + 1,): columns[starts[i]:starts[i + 1]] are row i's

    @property
    def size(self) -> int:
        """n, how many rows there are."""
        return self.starts.size - 1

    def part(self, start: int, stop: int) -> SparseRows:
        """Some consecutive rows."""
        starts = self.starts[start : stop + 1]
        return SparseRows(self.columns[starts[0] : starts[-1]], starts - starts[0])

    @classmethod
    def joined(cls, parts: Sequence[SparseRows]) -> SparseRows:
        """The rows of all *parts*, in their order."""
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
        return cls(np.concatenate([part.columns for part in parts]), starts)


def encode_text(rows: Sequence[FeatureRow]) -> SparseRows:
    """The columns that each row sets."""
    pieces: list[IntArray] = []
    starts = np.zeros(len(rows) + 1, dtype=np.int32)
    total = 0
    for index, row in enumerate(rows, start=1):
        of_row = columns_of(row)
        pieces += of_row
        total += sum([piece.size for piece in of_row])
        starts[index] = total
    columns = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)
    return SparseRows(columns, starts)


@dataclass(frozen=True, slots=True)
class Encoder:
    """TF-IDF over hashed text, each row's text scaled to length one.

    Attributes:
        idf: the weight of each column, shape (WIDTH,); 0 for the one-hots.
        known: whether a column was set in a row it was fitted on, shape (WIDTH,).
    """

    idf: FloatArray
    known: NDArray[np.bool_]

    @classmethod
    def fitted(cls, text: SparseRows) -> Encoder:
        """Learn how rare each column is.

        Source: smooth IDF, log((1 + n) / (1 + df)) + 1, as in scikit-learn's TfidfTransformer.
        """
        count = np.bincount(text.columns, minlength=WIDTH)
        idf = np.log((1 + text.size) / (1 + count)) + 1
        idf[_AMOUNT:] = 0
        return cls(idf.astype(np.float32), count > 0)

    def encode(self, rows: Sequence[FeatureRow]) -> csr_array:
        """The matrix of *rows*, shape (n, WIDTH), float32."""
        return self.weigh(encode_text(rows))

    def weigh(self, text: SparseRows) -> csr_array:
        """The matrix of encoded rows: TF-IDF of length one, and one-hots of ONE_HOT_WEIGHT."""
        parts = self.values(text), text.columns, text.starts
        return csr_array(parts, shape=(text.size, WIDTH))

    def values(self, text: SparseRows) -> FloatArray:
        """The entries of that matrix, one for each of text.columns."""
        values = self.idf[text.columns]
        if text.size:
            # A row is never empty: it has its one-hots, whose weight here is 0.
            sizes = text.starts[1:] - text.starts[:-1]
            row = np.arange(text.size).repeat(sizes)
            squared = np.bincount(row, values * values)
            length = np.sqrt(np.where(squared > 0, squared, 1)).astype(np.float32)
            values /= length.repeat(sizes)
            values[text.columns >= _AMOUNT] = ONE_HOT_WEIGHT
        return values

    def unknown_share(self, text: SparseRows) -> FloatArray:
        """The share of each row's columns that no fitted row had set, shape (n,)."""
        if not text.size:
            return np.zeros(0, dtype=np.float32)
        size = text.starts[1:] - text.starts[:-1]
        known = np.add.reduceat(self.known[text.columns], text.starts[:-1], dtype=np.int32)
        return np.asarray((size - known) / size, dtype=np.float32)


@lru_cache(maxsize=1024)
def _one_hots(amount: int, channel: int) -> IntArray:
    return np.array([amount, channel], dtype=np.int32)


@cached(8_192)
def _merchant_columns(merchant: str) -> IntArray:
    """Words, pairs, triples, the first word, the whole, and n-grams of 3 to 5 characters."""
    name = merchant[:_MERCHANT_MAX]
    words = name.split()
    if not words:
        return np.zeros(0, dtype=np.int32)
    threes = zip(words, words[1:], words[2:], strict=False)
    hashes = [
        crc32(b"=" + name.encode()),
        crc32(b"1" + words[0].encode()),
        *_word_hashes(words),
        *[crc32("t{} {} {}".format(*three).encode()) for three in threes],
    ]
    return ngram_columns(hashes, f" {name} ", 3, 5)


@cached(4_096)
def _description_columns(description: str, mcc: str) -> IntArray:
    """Words, pairs, n-grams of 4 characters within words, and the merchant category code."""
    words = description[:_DESCRIPTION_MAX].split()
    hashes = _word_hashes(words)
    if mcc:
        hashes.append(crc32(b"mcc=" + mcc.encode()))
    return ngram_columns(hashes, f" {' '.join(words)} ", 4, 4, in_words=True) + np.int32(
        _DESCRIPTION
    )


def _word_hashes(words: Sequence[str]) -> list[int]:
    """The hashes of the words, then of the pairs, in the order of `word_columns`."""
    pairs = [f"p{first} {second}" for first, second in pairwise(words)]
    return [crc32(text.encode()) for text in (*[f"w{word}" for word in words], *pairs)]

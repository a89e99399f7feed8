"""Encoder from feature rows to a sparse matrix: hashed n-grams with TF-IDF weights, one-hots.

Training and serving use the same functions, and each row is encoded on its own. Hashes are CRC-32,
so a matrix is the same in every process and on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, repeat
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from shared.features.brands import likely_category
from shared.features.extract import CHANNELS, FeatureRow
from shared.features.keyed_hash import keyed_hash
from shared.features.ngrams import TEXT_COLUMNS, ngram_columns
from shared.features.taxonomy import categories
from shared.text.cache import cached

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]

AMOUNT_BINS = 48
USER_COLUMNS, ACCOUNT_COLUMNS = 4_096, 1_024
UNKNOWN_AMOUNT = AMOUNT_BINS // 2 - 1
# Entries of the one-hot columns; those of a row's text have norm one.
ONE_HOT_ENTRY = 0.3
CATEGORY_ENTRY = 1.0
# Few rows say little of the words that stand for a category, so the category itself weighs more.
FEW_ROWS, CATEGORY_ENTRY_OF_FEW = 1_000, 2.0

_DESCRIPTION = TEXT_COLUMNS  # the first column of descriptions, after those of merchants
_AMOUNT = 2 * TEXT_COLUMNS
_CHANNEL = _AMOUNT + AMOUNT_BINS
_CATEGORY = _CHANNEL + len(CHANNELS)
_USER = _CATEGORY + len(categories())
_ACCOUNT = _USER + USER_COLUMNS
WIDTH = _ACCOUNT + ACCOUNT_COLUMNS

_MERCHANT_MAX = 80  # characters read; a longer line is a sentence, not a name
_DESCRIPTION_MAX = 120
_CHANNEL_COLUMNS = {name: _CHANNEL + index for index, name in enumerate(CHANNELS)}
_CATEGORY_COLUMNS = {name: _CATEGORY + index for index, name in enumerate(categories())}


def amount_bin(amount: float | None) -> int:
    """The half-log bin of a signed amount: 0..22 money in, 24..47 money out, 23 unknown.

    >>> amount_bin(12.5), amount_bin(-12.5), amount_bin(None)
    (5, 29, 23)
    """
    if amount is None or not math.isfinite(amount):
        return UNKNOWN_AMOUNT
    size = min(int(2 * math.log1p(abs(amount))), UNKNOWN_AMOUNT - 1)
    return size + AMOUNT_BINS // 2 if amount < 0 else size


def columns_of(row: FeatureRow, category: str, hash_key: bytes) -> list[IntArray]:
    """The columns that *row* sets, each once: text, amount, channel, category, user, account."""
    pieces = [_merchant_columns(row.line)]
    if row.norm_desc or row.mcc:
        pieces.append(_description_columns(row.norm_desc, row.mcc))
    channel = _CHANNEL_COLUMNS.get(row.channel, _CHANNEL)
    pieces.append(_one_hots(_AMOUNT + amount_bin(row.amount), channel, category))
    if row.user_id or row.account:
        pieces.append(_owner_one_hots(row.user_id, row.account, hash_key))
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


def encode_text(
    rows: Sequence[FeatureRow], hash_key: bytes, likely_categories: Sequence[str] | None = None
) -> SparseRows:
    """The columns that each row sets.

    Args:
        hash_key: of the columns of users and accounts; see `keyed_hash`.
        likely_categories: of the rows, if they were looked up before.
    """
    if likely_categories is None:
        likely_categories = list(map(likely_category, rows))
    pieces: list[IntArray] = []
    starts = np.zeros(len(rows) + 1, dtype=np.int32)
    total = 0
    of_rows = map(columns_of, rows, likely_categories, repeat(hash_key))
    for index, of_row in enumerate(of_rows, start=1):
        pieces += of_row
        total += sum([piece.size for piece in of_row])
        starts[index] = total
    columns = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)
    return SparseRows(columns, starts)


@dataclass(frozen=True, slots=True)
class Encoder:
    """TF-IDF over hashed text, each row's text scaled to length one.

    Attributes:
        idf: the weight of each text column, shape (WIDTH,); 0 for the one-hots.
        one_hot: the entry of each one-hot column, shape (WIDTH,); 0 for the text columns.
        known: whether a column was set in a row it was fitted on, shape (WIDTH,).
    """

    idf: FloatArray
    one_hot: FloatArray
    known: NDArray[np.bool_]

    @classmethod
    def fitted(cls, text: SparseRows) -> Encoder:
        """Learn how rare each column is.

        Source: smooth IDF, log((1 + n) / (1 + df)) + 1, as in scikit-learn's TfidfTransformer.
        """
        count = np.bincount(text.columns, minlength=WIDTH)
        idf = np.log((1 + text.size) / (1 + count)) + 1
        idf[_AMOUNT:] = 0
        one_hot = np.zeros(WIDTH, dtype=np.float32)
        one_hot[_AMOUNT:] = ONE_HOT_ENTRY
        is_few = text.size < FEW_ROWS
        one_hot[_CATEGORY:_USER] = CATEGORY_ENTRY_OF_FEW if is_few else CATEGORY_ENTRY
        return cls(idf.astype(np.float32), one_hot, count > 0)

    def encode(self, rows: Sequence[FeatureRow], hash_key: bytes) -> csr_array:
        """The matrix of *rows*, shape (n, WIDTH), float32."""
        return self.weigh(encode_text(rows, hash_key))

    def weigh(self, text: SparseRows) -> csr_array:
        """The matrix of encoded rows: TF-IDF of norm one, and the one-hots."""
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
            values += self.one_hot[text.columns]
        return values

    def unknown_share(self, text: SparseRows) -> FloatArray:
        """The share of each row's columns that no fitted row had set, shape (n,)."""
        if not text.size:
            return np.zeros(0, dtype=np.float32)
        size = text.starts[1:] - text.starts[:-1]
        known = np.add.reduceat(self.known[text.columns], text.starts[:-1], dtype=np.int32)
        return np.asarray((size - known) / size, dtype=np.float32)


@lru_cache(maxsize=8_192)
def _one_hots(amount: int, channel: int, category: str) -> IntArray:
    columns = [amount, channel]
    if category:
        columns.append(_CATEGORY_COLUMNS[category])
    return np.array(columns, dtype=np.int32)


@cached(8_192)
def _owner_one_hots(user_id: str, account: str, hash_key: bytes) -> IntArray:
    columns = []
    if user_id:
        columns.append(_USER + keyed_hash(user_id, "user column", hash_key) % USER_COLUMNS)
    if account:
        columns.append(_ACCOUNT + keyed_hash(account, "account column", hash_key) % ACCOUNT_COLUMNS)
    return np.array(columns, dtype=np.int32)


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

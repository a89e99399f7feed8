"""Candidate generation: which labels may fit a transaction, and the features of each such pair.

Softmax regression and Naive Bayes over hashed text, and the label history, vote for labels. The
labels with the most votes become candidates. Each (row, candidate) pair gets dense features that
mean the same for every label, so one small reranker scores any number of labels.

A closed label (worker/training/open_labels.py) is a candidate for its users alone. Of many labels,
only the first D have columns of the linear models; the history alone speaks for the others.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.features.brands import likely_category
from shared.features.encoder import Encoder, SparseRows, amount_bin, encode_text
from shared.features.extract import CHANNELS, FeatureRow
from shared.model.label_history import (
    HISTORY_KEYS,
    NO_KEY,
    SLOTS,
    USER,
    LabelHistory,
    add_own_keys,
    history_keys,
)
from shared.model.linear import QuantizedWeights, softmax
from shared.native import library
from shared.native.candidates import NativeCandidateGenerator

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

CANDIDATES = 6  # the right label is among six nearly as often as among twelve, at half the cost
NO_LABEL = -1  # in the place of a candidate, where a row has fewer
NO_LABEL_SCORE = -50.0  # its linear score
WEEKDAYS = 8  # Monday to Sunday, then unknown
UNKNOWN_DAY = dt.date.min.toordinal()
TOLERANCE = 1e-6  # relative and absolute: how far the kernel may be from the reference

# The features of a pair in their order, which is also that of `generate_candidates` in kernel.c.
PAIR_FEATURES = (
    *(f"{key}: {what}" for key in HISTORY_KEYS for what in ("share", "recent", "count", "latest")),
    *(f"{key}: {what}" for key in HISTORY_KEYS for what in ("total", "entropy")),
    *(f"{key}: days since" for key in HISTORY_KEYS[:2]),
    *(f"{key}: amount off" for key in HISTORY_KEYS[:2]),
    *(f"linear: {what}" for what in ("score", "gap", "rank", "share")),
    *(f"bayes: {what}" for what in ("score", "gap", "rank", "share")),
    "words: best", "words: mean", "amount ratio", "weekday ratio", "channel ratio", "open",
    # Of the row, the same for all its candidates:
    "linear best", "linear margin", "bayes margin", "unknown grams", "known words", "amount",
    "amount known", "money in", "has description", "word count", "subscription", "person to person",
)  # fmt: skip

# A row without its text; `row` in kernel.c.
ROW = np.dtype(
    [
        ("keys", np.uint64, (SLOTS,)),
        ("day", np.int64),  # ordinal of the date, or UNKNOWN_DAY
        ("amount", np.float32),  # signed log, NaN unknown
        ("amount_bin", np.int32),
        ("weekday", np.int32),
        ("channel", np.int32),
        ("flags", np.float32, (3,)),  # has description, subscription, person to person
    ],
    align=True,
)


class EncodedRows(NamedTuple):
    """Rows as arrays; no fitted value is in them."""

    text: SparseRows
    rows: NDArray[np.void]  # (n,) of ROW

    def part(self, start: int, stop: int) -> EncodedRows:
        """Some consecutive rows."""
        return EncodedRows(self.text.part(start, stop), self.rows[start:stop])

    @property
    def size(self) -> int:
        """n, how many rows there are."""
        return int(self.rows.size)

    @classmethod
    def joined(cls, parts: Sequence[EncodedRows]) -> EncodedRows:
        """The rows of all *parts*, at least one, in their order."""
        text, rows = zip(*parts, strict=True)
        return cls(SparseRows.joined(text), np.concatenate(rows))


class Candidates(NamedTuple):
    """The candidates of n rows; M is the smaller of CANDIDATES and the number of labels."""

    labels: IntArray  # (n, M) the best first, then NO_LABEL
    linear: FloatArray  # (n, M) the linear score of each
    features: FloatArray  # (n, M, len(PAIR_FEATURES)); NaN where unknown, and for NO_LABEL


def encode_rows(rows: Sequence[FeatureRow], hash_key: bytes) -> EncodedRows:
    """Encode rows, each on its own; *hash_key* is the key of the label history's hashes."""
    categories = list(map(likely_category, rows))
    encoded = [_encode_row(*each, hash_key) for each in zip(rows, categories, strict=True)]
    return EncodedRows(encode_text(rows, hash_key, categories), np.array(encoded, dtype=ROW))


@dataclass(frozen=True, slots=True)
class CandidateGenerator:
    """The first stage of the model, fitted on some rows; K labels, the first D with columns.

    Attributes:
        encoder: TF-IDF of those rows.
        weights: of softmax regression and Naive Bayes, shape (WIDTH, 2, D).
        history: label counts by key.
        log_prior: of each label, shape (D,). It informs the candidates alone: a reranker that sees
            how frequent a label is gains half a point of accuracy and loses more of the rare ones.
        amount_ratio: log of how much likelier a bin is under a label, shape (AMOUNT_BINS, D).
        weekday_ratio, channel_ratio: likewise, shapes (WEEKDAYS, D) and (len(CHANNELS), D).
        is_open: whether every user may be told a label, shape (K,); of the first D, the open first.
        use_native: generate in C where the kernel is available.
        native: the same in C; None where the reference is used.
    """

    encoder: Encoder
    weights: QuantizedWeights
    history: LabelHistory
    log_prior: FloatArray
    amount_ratio: FloatArray
    weekday_ratio: FloatArray
    channel_ratio: FloatArray
    is_open: NDArray[np.bool_]
    use_native: InitVar[bool] = True
    native: NativeCandidateGenerator | None = field(init=False, repr=False, compare=False)

    def __post_init__(self, use_native: bool) -> None:
        use_native = use_native and library.is_available()
        object.__setattr__(self, "native", self._native() if use_native else None)

    @property
    def label_count(self) -> int:
        return self.history.label_count

    @property
    def column_count(self) -> int:
        """D."""
        return self.log_prior.size

    @property
    def open_columns(self) -> int:
        """How many of the first D labels are open."""
        return int(self.is_open[: self.column_count].sum())

    def generate(self, inputs: EncodedRows) -> Candidates:
        """The candidates of each row and the features of each pair, each row on its own."""
        if self.native is None:
            return self.generate_reference(inputs)
        return Candidates._make(self.native.generate(*inputs.text, inputs.rows))

    def native_agrees(self, inputs: EncodedRows) -> bool | None:
        """Whether the kernel and the reference are equal for *inputs*; None without the kernel."""
        if self.native is None:
            return None
        return _is_close(self.generate(inputs), self.generate_reference(inputs))

    def generate_reference(self, inputs: EncodedRows) -> Candidates:
        """As `generate`, in NumPy; the kernel must be equal up to TOLERANCE."""
        text, rows = inputs
        history, key_count = self.history, len(HISTORY_KEYS)
        scores = self.weights.score(text, self.encoder.values(text))
        scores[:, 1] += self.log_prior
        shares = softmax(scores)
        votes = shares[:, 0] + shares[:, 1]
        positions = history.find(add_own_keys(rows["keys"], votes))
        is_known = positions != history.keys.size - 1
        known_words = is_known[:, key_count:].sum(axis=1)
        labels = self._choose(votes, positions[:, :key_count])
        pairs = history.find_pairs(positions, labels)
        n, m = labels.shape

        by_key = history.pair_stats[pairs[:, :, :key_count]]
        np.copyto(by_key, np.nan, where=~is_known[:, None, :key_count, None])
        last = history.pair_last[pairs[:, :, :2]]
        day = np.where(rows["day"] == UNKNOWN_DAY, np.nan, rows["day"]).astype(np.float32)
        has_column = (labels != NO_LABEL) & (labels < self.column_count)
        column = np.where(has_column, labels, 0)
        pick = np.arange(n)[:, None, None], np.arange(2)[:, None], column[:, None, :]
        best, margin = _lead(scores)
        picked = np.where(has_column[:, None], scores[pick], np.float32(np.nan))
        rank = np.where(has_column[:, None], _rank(picked), np.nan)
        share = np.where(has_column[:, None], shares[pick], np.nan)
        by_scorer = picked, picked - best[:, :, None], rank, share
        even = best[:, 0] - np.log(shares[:, 0].max(axis=1)) - np.log(self.column_count)
        linear = np.where(has_column, picked[:, 0], even[:, None]).astype(np.float32)
        by_word = history.pair_stats[pairs[:, :, key_count:], 1]
        words_and_ratios = (
            by_word.max(axis=2),
            by_word.sum(axis=2) / np.maximum(known_words, 1)[:, None],
            *(
                np.where(has_column, ratio[rows[bin_of][:, None], column], np.nan)
                for bin_of, ratio in (
                    ("amount_bin", self.amount_ratio),
                    ("weekday", self.weekday_ratio),
                    ("channel", self.channel_ratio),
                )
            ),
            self.is_open[labels],
        )
        of_row = (
            best[:, 0],
            margin[:, 0],
            margin[:, 1],
            self.encoder.unknown_share(text),
            known_words,
            rows["amount"],
            ~np.isnan(rows["amount"]),
            rows["amount"] > 0,
            rows["flags"][:, 0],
            (rows["keys"][:, key_count:] != NO_KEY).sum(axis=1),
            rows["flags"][:, 1],
            rows["flags"][:, 2],
        )
        blocks = (
            by_key.reshape(n, m, 4 * key_count),
            history.key_stats[positions[:, :key_count]].reshape(n, 1, 2 * key_count),
            day[:, None, None] - last[..., 0],
            np.abs(rows["amount"][:, None, None] - last[..., 1]),
            np.array(by_scorer, np.float32).transpose(1, 3, 2, 0).reshape(n, m, 8),
            np.array(words_and_ratios, np.float32).transpose(1, 2, 0),
            np.array(of_row, np.float32).T[:, None],
        )
        wide = [np.broadcast_to(block, (n, m, block.shape[2])) for block in blocks]
        features = np.concatenate(wide, axis=2, dtype=np.float32)
        features[labels == NO_LABEL] = np.nan
        linear[labels == NO_LABEL] = NO_LABEL_SCORE
        return Candidates(labels, linear, features)

    def _choose(self, votes: FloatArray, positions: IntArray) -> IntArray:
        """The labels with the most votes: the shares of both scorers and of all history keys.

        A closed label gets votes of its users alone. A label without a column needs some vote.
        """
        n, d, k = len(votes), self.column_count, self.label_count
        total = np.zeros((n, k + 1), dtype=np.float32)  # the last column is for empty places
        total[:, :d] = votes
        is_hidden = np.zeros((n, k), dtype=np.bool_)
        is_hidden[:, self.open_columns : d] = True
        is_hidden[self.history.labels_of(positions[:, USER])] = False
        # Flat: with one index array, add.at is several times as fast.
        index = np.arange(0, total.size, k + 1)[:, None, None] + self.history.proposed[positions]
        np.add.at(total.reshape(-1), index.ravel(), self.history.proposed_share[positions].ravel())
        is_hidden[:, d:] = total[:, d:k] == 0
        total[:, :k][is_hidden] = -1
        # Of many labels, six are found sooner one by one than by sorting all.
        labels = np.empty((n, min(k, CANDIDATES)), dtype=np.int64)
        for rank in range(labels.shape[1]):
            best = total[:, :k].argmax(axis=1)
            labels[:, rank] = np.where(total[np.arange(n), best] < 0, NO_LABEL, best)
            total[np.arange(n), best] = -1
        return labels

    def _native(self) -> NativeCandidateGenerator:
        history = {item.name: getattr(self.history, item.name) for item in fields(self.history)}
        return NativeCandidateGenerator(
            {**self.arrays(), **history},
            open_columns=self.open_columns,
            candidate_count=min(self.label_count, CANDIDATES),
            feature_count=len(PAIR_FEATURES),
            unknown_day=UNKNOWN_DAY,
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All arrays that a file must hold."""
        return {
            "idf": self.encoder.idf,
            "one_hot": self.encoder.one_hot,
            "known": self.encoder.known,
            "weights": self.weights.values,
            "weights_scale": self.weights.scale,
            **{name: getattr(self, name) for name in _ARRAYS},
            **{f"history_{name}": array for name, array in self.history.arrays().items()},
        }

    @classmethod
    def from_arrays(
        cls, label_count: int, arrays: Mapping[str, NDArray[np.generic]], *, use_native: bool
    ) -> CandidateGenerator:
        """The generator whose `arrays` these are."""
        history = {name.removeprefix("history_"): array for name, array in arrays.items()}
        return cls(
            Encoder(arrays["idf"], arrays["one_hot"], arrays["known"]),  # type: ignore[arg-type]
            QuantizedWeights(arrays["weights"], arrays["weights_scale"]),  # type: ignore[arg-type]
            LabelHistory.from_arrays(label_count, history),
            **{name: arrays[name] for name in _ARRAYS},  # type: ignore[arg-type]
            use_native=use_native,
        )


_ARRAYS = ("log_prior", "amount_ratio", "weekday_ratio", "channel_ratio", "is_open")
_CHANNEL_INDEX = {name: index for index, name in enumerate(CHANNELS)}


def _encode_row(row: FeatureRow, category: str, hash_key: bytes) -> tuple[object, ...]:
    amount = math.nan if row.amount is None or math.isinf(row.amount) else row.amount
    return (
        history_keys(row, category, hash_key),
        row.date.toordinal() if row.date is not None else UNKNOWN_DAY,
        math.copysign(math.log1p(abs(amount)), amount),
        amount_bin(amount),
        row.dow if 0 <= row.dow < WEEKDAYS - 1 else WEEKDAYS - 1,
        _CHANNEL_INDEX.get(row.channel, 0),
        (bool(row.norm_desc), row.is_subscription, row.is_p2p),
    )


def _is_close(one: Candidates, other: Candidates) -> bool:
    """Whether the candidates are equal up to TOLERANCE, in whatever order.

    The order differs where two labels have nearly equal votes.
    """
    index = np.arange(len(one.labels))[:, None]
    left, right = ([a[index, each.labels.argsort(axis=1)] for a in each] for each in (one, other))
    return all(
        np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        for a, b in zip(left, right, strict=True)
    )


def _lead(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The best along the last axis, and by how much it leads the second; 0 if there is none."""
    if scores.shape[-1] < 2:
        return scores[..., 0], np.zeros(scores.shape[:-1], dtype=np.float32)
    two = np.partition(scores, -2, axis=-1)[..., -2:]
    return two[..., 1], two[..., 1] - two[..., 0]


def _rank(scores: FloatArray) -> IntArray:
    """Along the last axis, 0 for the best, 1 for the next."""
    return (-scores).argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")

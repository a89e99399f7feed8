"""Candidate generation: which labels may fit a transaction, and the features of each such pair.

Cheap scorers propose: a linear one and Naive Bayes over hashed text, and the label history. Their
best labels become candidates; each (row, candidate) pair becomes a line of dense features that
mean the same for every label, so one small forest can judge any number of labels.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.features.encoder import (
    FIRST_ONE_HOT,
    ONE_HOT_WEIGHT,
    Encoder,
    SparseRows,
    amount_bin,
    encode_text,
)
from shared.features.extract import CHANNELS, FeatureRow
from shared.model.label_history import HISTORY_KEYS, NO_KEY, SLOTS, LabelHistory, history_keys
from shared.model.linear import QuantizedWeights, softmax
from shared.native import library
from shared.native.candidates import NativeCandidateGenerator

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

CANDIDATES = 6  # the truth is among six nearly as often as among twelve, at half the cost
WEEKDAYS = 8  # Monday to Sunday, then unknown
UNKNOWN_DAY = dt.date.min.toordinal()
TOLERANCE = 1e-6  # relative and absolute: how far the kernel may be from the reference

# The features of a pair in their order, which is also that of `propose` in kernel.c.
FEATURE_BLOCKS: dict[str, tuple[str, ...]] = {
    "label by key": tuple(
        f"{memory}: {what}"
        for memory in HISTORY_KEYS
        for what in ("share", "recent", "count", "latest")
    ),
    "key": tuple(f"{memory}: {what}" for memory in HISTORY_KEYS for what in ("total", "entropy")),
    "day": tuple(f"{memory}: days since" for memory in HISTORY_KEYS[:2]),
    "amount": tuple(f"{memory}: amount off" for memory in HISTORY_KEYS[:2]),
    "scorers": tuple(
        f"{scorer}: {what}"
        for scorer in ("linear", "bayes")
        for what in ("score", "gap", "rank", "share")
    ),
    "words and ratios": (
        "words: best", "words: mean", "amount ratio", "weekday ratio", "channel ratio",
    ),
    "row": (
        "linear best", "linear margin", "bayes margin", "unknown grams", "known words", "amount",
        "amount known", "money in", "has description", "word count", "subscription",
        "person to person",
    ),
}  # fmt: skip
PAIR_FEATURES = tuple(chain.from_iterable(FEATURE_BLOCKS.values()))


# A row before anything fitted, its text aside; as C has it in kernel.c.
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
    """Rows as arrays, before anything fitted."""

    text: SparseRows
    rows: NDArray[np.void]  # (n,) of ROW

    def part(self, start: int, stop: int) -> EncodedRows:
        """Some consecutive rows of it."""
        return EncodedRows(self.text.part(start, stop), self.rows[start:stop])

    @property
    def size(self) -> int:
        """n, how many rows there are."""
        return int(self.rows.size)

    @classmethod
    def joined(cls, parts: Sequence[EncodedRows]) -> EncodedRows:
        """The rows of all *parts*, at least one, in their order."""
        grams, rows = zip(*parts, strict=True)
        return cls(SparseRows.joined(grams), np.concatenate(rows))


class Candidates(NamedTuple):
    """The candidates of n rows; M is the smaller of CANDIDATES and the number of labels."""

    labels: IntArray  # (n, M) the best first
    linear: FloatArray  # (n, M) the linear score of each
    features: FloatArray  # (n, M, len(PAIR_FEATURES))


def encode_rows(rows: Sequence[FeatureRow], hash_key: bytes) -> EncodedRows:
    """Turn rows into arrays, each row on its own; *hash_key* is the key of the history's hashes."""
    encoded = [_row(row, hash_key) for row in rows]
    return EncodedRows(encode_text(rows), np.array(encoded, dtype=ROW))


@dataclass(frozen=True, slots=True)
class CandidateGenerator:
    """The candidate generator, fitted on some rows; K labels.

    Attributes:
        encoder: its IDF is of those rows.
        weights: of the linear scorer and Naive Bayes, shape (WIDTH, 2, K).
        history: the labels by key.
        log_prior: of each label, shape (K,). It informs the candidates alone: a reranker that sees
            how frequent a label is gains half a point of accuracy and loses more of the rare ones.
        amount_ratio: log of how much likelier a bin is under a label, shape (AMOUNT_BINS, K).
        weekday_ratio, channel_ratio: likewise, shapes (WEEKDAYS, K) and (len(CHANNELS), K).
        use_native: generate in C where the kernel is available.
        native: what then generates; None where the reference does.
    """

    encoder: Encoder
    weights: QuantizedWeights
    history: LabelHistory
    log_prior: FloatArray
    amount_ratio: FloatArray
    weekday_ratio: FloatArray
    channel_ratio: FloatArray
    use_native: InitVar[bool] = True
    native: NativeCandidateGenerator | None = field(init=False, repr=False, compare=False)

    def __post_init__(self, use_native: bool) -> None:
        use_native = use_native and library.is_available()
        object.__setattr__(self, "native", self._native() if use_native else None)

    @property
    def label_count(self) -> int:
        return self.history.label_count

    def generate(self, inputs: EncodedRows) -> Candidates:
        """The candidates of each row and the features of each pair. No row sees another."""
        if self.native is None:
            return self.generate_reference(inputs)
        return Candidates._make(self.native.propose(*inputs.text, inputs.rows))

    def native_agrees(self, inputs: EncodedRows) -> bool | None:
        """Whether the kernel and the reference are equal for *inputs*; None without the kernel."""
        if self.native is None:
            return None
        return _is_close(self.generate(inputs), self.generate_reference(inputs))

    def generate_reference(self, inputs: EncodedRows) -> Candidates:
        """As `propose`, in NumPy; the kernel must be equal up to TOLERANCE."""
        grams, rows = inputs
        history, key_count = self.history, len(HISTORY_KEYS)
        scores = self.weights.score(grams, self.encoder.values(grams))
        scores[:, 1] += self.log_prior
        shares = softmax(scores)
        found = history.find(rows["keys"])
        is_known = found != history.keys.size - 1
        labels = self._candidates(shares[:, 0] + shares[:, 1], found[:, :key_count])
        pairs = history.find_pairs(found, labels)
        n, m = labels.shape

        of_labels = history.pair_stats[pairs[:, :, :key_count]]
        np.copyto(of_labels, np.nan, where=~is_known[:, None, :key_count, None])
        last = history.pair_last[pairs[:, :, :2]]
        day = np.where(rows["day"] == UNKNOWN_DAY, np.nan, rows["day"]).astype(np.float32)
        pick = np.arange(n)[:, None, None], np.arange(2)[:, None], labels[:, None, :]
        picked, picked_shares = scores[pick], shares[pick]
        best, margin = _lead(scores)
        scorers = picked, picked - best[:, :, None], _rank(picked), picked_shares
        known_words = is_known[:, key_count:].sum(axis=1)
        word_shares = history.pair_stats[pairs[:, :, key_count:], 1]
        words_and_ratios = (
            word_shares.max(axis=2),
            word_shares.sum(axis=2) / np.maximum(known_words, 1)[:, None],
            self.amount_ratio[rows["amount_bin"][:, None], labels],
            self.weekday_ratio[rows["weekday"][:, None], labels],
            self.channel_ratio[rows["channel"][:, None], labels],
        )
        row = (
            best[:, 0],
            margin[:, 0],
            margin[:, 1],
            self.encoder.unknown_share(grams),
            known_words,
            rows["amount"],
            ~np.isnan(rows["amount"]),
            rows["amount"] > 0,
            rows["flags"][:, 0],
            (rows["keys"][:, key_count:] != NO_KEY).sum(axis=1),
            rows["flags"][:, 1],
            rows["flags"][:, 2],
        )
        blocks = {
            "label by key": of_labels.reshape(n, m, 4 * key_count),
            "key": history.key_stats[found[:, :key_count]].reshape(n, 1, 2 * key_count),
            "day": day[:, None, None] - last[..., 0],
            "amount": np.abs(rows["amount"][:, None, None] - last[..., 1]),
            "scorers": np.array(scorers, np.float32).transpose(1, 3, 2, 0).reshape(n, m, 8),
            "words and ratios": np.array(words_and_ratios, np.float32).transpose(1, 2, 0),
            "row": np.array(row, np.float32).T[:, None],
        }
        return Candidates(labels, picked[:, 0], _joined(blocks, n, m))

    def _candidates(self, votes: FloatArray, found: IntArray) -> IntArray:
        """The labels with the most votes: shares of both scorers and of every memory, summed."""
        n, k = votes.shape
        spare = np.zeros((n, k + 1), dtype=np.float32)  # one column for proposals that are none
        spare[:, :k] = votes
        # Flat: with one index array, add.at is several times as fast.
        at = np.arange(0, spare.size, k + 1)[:, None, None] + self.history.proposed[found]
        np.add.at(spare.reshape(-1), at.ravel(), self.history.proposed_share[found].ravel())
        # Of many labels, six are found sooner one by one than by sorting all.
        labels = np.empty((n, min(k, CANDIDATES)), dtype=np.int64)
        row = np.arange(n)
        for place in range(labels.shape[1]):
            labels[:, place] = best = spare[:, :k].argmax(axis=1)
            spare[row, best] = -1
        return labels

    def _native(self) -> NativeCandidateGenerator:
        arrays = {
            "idf": self.encoder.idf,
            "known": self.encoder.known,
            "weights": self.weights.values,
            "scale": self.weights.scale,
            **{name: getattr(self, name) for name in _ARRAYS},
            **{name: getattr(self.history, name) for name in _HISTORY_ARRAYS},
        }
        return NativeCandidateGenerator(
            arrays,
            first_one_hot=FIRST_ONE_HOT,
            one_hot_weight=ONE_HOT_WEIGHT,
            candidate_count=min(self.label_count, CANDIDATES),
            feature_count=len(PAIR_FEATURES),
            unknown_day=UNKNOWN_DAY,
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All that a file must hold of it."""
        history = self.history.arrays()
        return {
            "idf": self.encoder.idf,
            "known": self.encoder.known,
            "weights": self.weights.values,
            "weights_scale": self.weights.scale,
            **{name: getattr(self, name) for name in _ARRAYS},
            **{f"history_{name}": array for name, array in history.items()},
        }

    @classmethod
    def from_arrays(
        cls, label_count: int, arrays: Mapping[str, NDArray[np.generic]], *, use_native: bool
    ) -> CandidateGenerator:
        """What `arrays` gave."""
        history = {
            name.removeprefix("history_"): array
            for name, array in arrays.items()
            if name.startswith("history_")
        }
        return cls(
            Encoder(arrays["idf"], arrays["known"]),  # type: ignore[arg-type]
            QuantizedWeights(arrays["weights"], arrays["weights_scale"]),  # type: ignore[arg-type]
            LabelHistory.from_arrays(label_count, history),
            **{name: arrays[name] for name in _ARRAYS},  # type: ignore[arg-type]
            use_native=use_native,
        )


_ARRAYS = ("log_prior", "amount_ratio", "weekday_ratio", "channel_ratio")
_HISTORY_ARRAYS = (
    "keys", "starts", "labels", "pair_stats", "pair_last", "key_stats", "proposed",
    "proposed_share",
)  # fmt: skip


def _row(row: FeatureRow, hash_key: bytes) -> tuple[object, ...]:
    amount = math.nan if row.amount is None or math.isinf(row.amount) else row.amount
    return (
        history_keys(row, hash_key),
        row.date.toordinal() if row.date is not None else UNKNOWN_DAY,
        math.copysign(math.log1p(abs(amount)), amount),
        amount_bin(amount),
        row.dow if 0 <= row.dow < WEEKDAYS - 1 else WEEKDAYS - 1,
        _CHANNEL_INDEX.get(row.channel, 0),
        (bool(row.norm_desc), row.is_subscription, row.is_p2p),
    )


_CHANNEL_INDEX = {name: index for index, name in enumerate(CHANNELS)}


def _joined(blocks: Mapping[str, NDArray[Any]], n: int, m: int) -> FloatArray:
    """Put *blocks*, (n or 1, m or 1, size of each), side by side: (n, m, len(PAIR_FEATURES))."""
    features = np.empty((n, m, len(PAIR_FEATURES)), dtype=np.float32)
    start = 0
    for name, names in FEATURE_BLOCKS.items():
        features[:, :, start : start + len(names)] = blocks[name]
        start += len(names)
    return features


def _is_close(one: Candidates, other: Candidates) -> bool:
    """Whether two proposals are equal up to TOLERANCE.

    Labels with as good as equal votes may stand in either order.
    """
    orders = one.labels.argsort(axis=1), other.labels.argsort(axis=1)
    for name in Candidates._fields:
        left, right = (
            getattr(proposal, name)[np.arange(len(order))[:, None], order]
            for proposal, order in zip((one, other), orders, strict=True)
        )
        if not np.allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            return False
    return True


def _lead(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The best along the last axis, and by how much it leads the second; 0 if there is none."""
    if scores.shape[-1] < 2:
        return scores[..., 0], np.zeros(scores.shape[:-1], dtype=np.float32)
    two = np.partition(scores, -2, axis=-1)[..., -2:]
    return two[..., 1], two[..., 1] - two[..., 0]


def _rank(scores: FloatArray) -> IntArray:
    """Along the last axis, 0 for the best, 1 for the next."""
    return (-scores).argsort(axis=-1, kind="stable").argsort(axis=-1, kind="stable")

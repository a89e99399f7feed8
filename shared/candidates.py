"""Which labels may fit a transaction, and what speaks for each: the input of the reranker.

Cheap scorers propose: a linear one and Naive Bayes over hashed text, and the label history. Their
best labels become candidates; each (row, candidate) pair becomes a line of dense features that
mean the same for every label, so one small forest can judge any number of labels.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared import kernel
from shared.compiled import CompiledBase
from shared.encode import AMOUNT_BINS, WIDTH, Encoder, Grams, amount_bin, grams_of
from shared.features import CHANNELS, FeatureRow
from shared.history import MEMORIES, NO_KEY, SLOTS, History, keys_of
from shared.linear import Weights, shares_of
from shared.log import get_logger

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
_log = get_logger()

CANDIDATES = 6  # the truth is among six nearly as often as among twelve, at half the cost
WEEKDAYS = 8  # Monday to Sunday, then unknown
UNKNOWN_DAY = dt.date.min.toordinal()
TRIED = 32  # made-up rows for which the compiled loops of every base must propose the same

_OF_PAIR = ("share", "recent", "count", "latest")
PAIR_FEATURES = (
    *(f"{memory}: {what}" for memory in MEMORIES for what in _OF_PAIR),
    *(f"{memory}: {what}" for memory in MEMORIES for what in ("total", "entropy")),
    *(f"{memory}: days since" for memory in MEMORIES[:2]),
    *(f"{memory}: amount off" for memory in MEMORIES[:2]),
    *(f"linear: {what}" for what in ("score", "gap", "rank", "share")),
    *(f"bayes: {what}" for what in ("score", "gap", "rank", "share")),
    *("words: best", "words: mean"),
    *("amount ratio", "weekday ratio", "channel ratio"),
    *("linear best", "linear margin", "bayes margin", "unknown grams", "known words"),
    *("amount", "amount known", "money in", "has description", "word count"),
    *("subscription", "person to person"),
)


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


class Inputs(NamedTuple):
    """Rows as arrays, before anything fitted."""

    grams: Grams
    rows: NDArray[np.void]  # (n,) of ROW

    def part(self, start: int, stop: int) -> Inputs:
        """Some consecutive rows of it."""
        return Inputs(self.grams.part(start, stop), self.rows[start:stop])

    @property
    def size(self) -> int:
        """n, how many rows there are."""
        return int(self.rows.size)

    @classmethod
    def joined(cls, parts: Sequence[Inputs]) -> Inputs:
        """The rows of all *parts*, at least one, in their order."""
        grams, rows = zip(*parts, strict=True)
        return cls(Grams.joined(grams), np.concatenate(rows))


class Proposal(NamedTuple):
    """What the base says of n rows; M is the smaller of CANDIDATES and the number of labels."""

    labels: IntArray  # (n, M) the best first
    linear: FloatArray  # (n, M) the linear score of each
    features: FloatArray  # (n, M, len(PAIR_FEATURES))


def inputs_of(rows: Sequence[FeatureRow], hash_key: bytes) -> Inputs:
    """Turn rows into arrays, each row on its own; *hash_key* is the key of the history's hashes."""
    told = [_row(row, hash_key) for row in rows]
    return Inputs(grams_of(rows), np.array(told, dtype=ROW))


@dataclass(frozen=True, slots=True)
class Base:
    """The scorers that propose, fitted on some rows; K labels.

    Attributes:
        encoder: its IDF is of those rows.
        weights: of the linear scorer and Naive Bayes, shape (WIDTH, 2, K).
        history: the labels by key.
        log_prior: of each label, shape (K,). It informs the candidates alone: a reranker that sees
            how frequent a label is gains half a point of accuracy and loses more of the rare ones.
        amount_ratio: log of how much likelier a bin is under a label, shape (AMOUNT_BINS, K).
        weekday_ratio, channel_ratio: likewise, shapes (WEEKDAYS, K) and (len(CHANNELS), K).
    """

    encoder: Encoder
    weights: Weights
    history: History
    log_prior: FloatArray
    amount_ratio: FloatArray
    weekday_ratio: FloatArray
    channel_ratio: FloatArray
    compiled: CompiledBase | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        width = len(PAIR_FEATURES)
        made = CompiledBase(self, width, CANDIDATES, UNKNOWN_DAY) if kernel.is_there() else None
        object.__setattr__(self, "compiled", made)
        self.try_on(self._made_up())

    @property
    def label_count(self) -> int:
        return self.history.label_count

    def propose(self, inputs: Inputs) -> Proposal:
        """The candidates of each row and the features of each pair. No row sees another."""
        if self.compiled:
            return Proposal._make(self.compiled.propose(inputs))
        return self.propose_plainly(inputs)

    def try_on(self, inputs: Inputs) -> bool | None:
        """Whether the compiled loops propose the same for *inputs*; None where there are none.

        If they do not, they are never asked again.
        """
        if not kernel.is_there():
            return None
        if self.compiled and not _same(self.propose(inputs), self.propose_plainly(inputs)):
            _log.error("base.compiled_differs", rows=inputs.size)
            self.go_plainly()
        return self.compiled is not None

    def go_plainly(self) -> None:
        """Do without the compiled loops from now on."""
        object.__setattr__(self, "compiled", None)

    def propose_plainly(self, inputs: Inputs) -> Proposal:
        """The same without the compiled loops, whose meaning it is."""
        grams, rows = inputs
        history, memories = self.history, len(MEMORIES)
        scores = self.weights.score(grams, self.encoder.values(grams))
        scores[:, 1] += self.log_prior
        shares = shares_of(scores)
        found = history.find(rows["keys"])
        known = found != history.keys.size - 1
        labels = self._candidates(shares[:, 0] + shares[:, 1], found[:, :memories])
        pairs = history.find_pairs(found, labels)

        n, m = labels.shape
        pick = np.arange(n)[:, None, None], np.arange(2)[:, None], labels[:, None, :]
        picked, picked_share = scores[pick], shares[pick]
        linear, bayes = picked[:, 0], picked[:, 1]
        best, margin = _lead(scores)
        gap = picked - best[:, :, None]
        rank = _rank(picked)
        known_words = known[:, memories:].sum(axis=1)
        word_share = history.pair_stats[pairs[:, :, memories:], 1]
        per_pair = [
            linear,
            gap[:, 0],
            rank[:, 0],
            picked_share[:, 0],
            bayes,
            gap[:, 1],
            rank[:, 1],
            picked_share[:, 1],
            word_share.max(axis=2),
            # Unlike sum, cumsum adds in the words' order whatever the number of rows.
            word_share.cumsum(axis=2)[:, :, -1] / np.maximum(known_words, 1)[:, None],
            self.amount_ratio[rows["amount_bin"][:, None], labels],
            self.weekday_ratio[rows["weekday"][:, None], labels],
            self.channel_ratio[rows["channel"][:, None], labels],
        ]
        per_row = [
            best[:, 0],
            margin[:, 0],
            margin[:, 1],
            self.encoder.unknown_share(grams),
            known_words,
            rows["amount"],
            ~np.isnan(rows["amount"]),
            rows["amount"] > 0,
            rows["flags"][:, 0],
            (rows["keys"][:, memories:] != NO_KEY).sum(axis=1),
            rows["flags"][:, 1],
            rows["flags"][:, 2],
        ]

        memory = history.pair_stats[pairs[:, :, :memories]]
        np.copyto(memory, np.nan, where=~known[:, None, :memories, None])
        last = history.pair_last[pairs[:, :, :2]]
        day = np.where(rows["day"] == UNKNOWN_DAY, np.nan, rows["day"]).astype(np.float32)
        blocks = [
            memory.reshape(n, m, 4 * memories),
            history.key_stats[found[:, :memories]].reshape(n, 1, 2 * memories),
            day[:, None, None] - last[..., 0],
            np.abs(rows["amount"][:, None, None] - last[..., 1]),
            np.array(per_pair, dtype=np.float32).transpose(1, 2, 0),
            np.array(per_row, dtype=np.float32).T[:, None, :],
        ]
        features = np.empty((n, m, len(PAIR_FEATURES)), dtype=np.float32)
        at = 0
        for block in blocks:
            features[:, :, at : at + block.shape[2]] = block
            at += block.shape[2]
        return Proposal(labels, linear, features)

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

    def _made_up(self) -> Inputs:
        """TRIED rows of what this base knows, and of what it does not."""
        rng = np.random.default_rng(0)
        columns = np.append(np.flatnonzero(self.encoder.known), np.arange(0, WIDTH, 7))
        of_row = [np.unique(rng.choice(columns, 24)).astype(np.int32) for _ in range(TRIED)]
        starts = np.cumsum([0, *(some.size for some in of_row)]).astype(np.int32)
        rows = np.zeros(TRIED, dtype=ROW)
        keys = np.append(self.history.keys[:-1], np.array([NO_KEY, 1, 2], dtype=np.uint64))
        is_none = rng.random((TRIED, SLOTS)) < 0.2
        rows["keys"] = np.where(is_none, np.uint64(NO_KEY), rng.choice(keys, (TRIED, SLOTS)))
        rows["day"] = rng.integers(730_000, 740_000, TRIED)
        rows["amount"] = rng.normal(0, 4, TRIED)
        rows["day"][:4], rows["amount"][2:6] = UNKNOWN_DAY, np.nan
        rows["amount_bin"] = rng.integers(AMOUNT_BINS, size=TRIED)
        rows["weekday"] = rng.integers(WEEKDAYS, size=TRIED)
        rows["channel"] = rng.integers(len(CHANNELS), size=TRIED)
        rows["flags"] = rng.integers(2, size=(TRIED, 3))
        return Inputs(Grams(np.concatenate(of_row), starts), rows)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All that must be kept of it."""
        kept: dict[str, NDArray[np.generic]] = {
            "idf": self.encoder.idf,
            "known": self.encoder.known,
            "weights": self.weights.values,
            "weights_scale": self.weights.scale,
            **{name: getattr(self, name) for name in _KEPT},
        }
        kept.update({f"history_{name}": kept_ for name, kept_ in self.history.arrays().items()})
        return kept

    @classmethod
    def from_arrays(cls, label_count: int, arrays: Mapping[str, NDArray[np.generic]]) -> Base:
        history = {
            name.removeprefix("history_"): array
            for name, array in arrays.items()
            if name.startswith("history_")
        }
        return cls(
            Encoder(arrays["idf"], arrays["known"]),  # type: ignore[arg-type]
            Weights(arrays["weights"], arrays["weights_scale"]),  # type: ignore[arg-type]
            History.from_arrays(label_count, history),
            **{name: arrays[name] for name in _KEPT},  # type: ignore[arg-type]
        )


_KEPT = ("log_prior", "amount_ratio", "weekday_ratio", "channel_ratio")


def _row(row: FeatureRow, hash_key: bytes) -> tuple[object, ...]:
    amount = math.nan if row.amount is None or math.isinf(row.amount) else row.amount
    return (
        keys_of(row, hash_key),
        row.date.toordinal() if row.date is not None else UNKNOWN_DAY,
        math.copysign(math.log1p(abs(amount)), amount),
        amount_bin(amount),
        row.dow if 0 <= row.dow < WEEKDAYS - 1 else WEEKDAYS - 1,
        _CHANNEL_INDEX.get(row.channel, 0),
        (bool(row.norm_desc), row.is_subscription, row.is_p2p),
    )


_CHANNEL_INDEX = {name: index for index, name in enumerate(CHANNELS)}


def _same(one: Proposal, other: Proposal) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in Proposal._fields
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

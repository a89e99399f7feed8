"""What every method says and is, and the simplest ones: frequencies, overall and by merchant."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.features.extract import RawTransaction

TOP = 3

FloatArray = NDArray[np.float64]
Txns = Sequence[RawTransaction]
Labels = Sequence[str]


class Answers(NamedTuple):
    """What a method says of n transactions."""

    ranked: list[tuple[str, ...]]  # up to TOP labels of each, the likeliest first
    confidence: FloatArray  # in the first of them, 0..1, shape (n,)

    @property
    def labels(self) -> list[str]:
        return [ranked[0] for ranked in self.ranked]


class Method(Protocol):
    """Something that learns from transactions, the earliest first, and answers others."""

    def fit(self, txns: Txns, labels: Labels) -> None: ...

    def answer(self, txns: Txns) -> Answers: ...


class MostFrequent:
    """The most frequent label, whatever the transaction."""

    def fit(self, txns: Txns, labels: Labels) -> None:
        self._ranked, self._share = _ranking(Counter(labels))

    def answer(self, txns: Txns) -> Answers:
        return Answers([self._ranked] * len(txns), np.full(len(txns), self._share))


class MerchantLookup:
    """The most frequent label of the merchant as printed; of an unseen one, the overall ranking.

    Its confidence is that label's share of the merchant's rows.
    """

    def fit(self, txns: Txns, labels: Labels) -> None:
        counts: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
        for txn, label in zip(txns, labels, strict=True):
            counts[txn.merchant][label] += 1
        self._overall = _ranking(Counter(labels))
        self._known = {merchant: _ranking(found) for merchant, found in counts.items()}

    def answer(self, txns: Txns) -> Answers:
        found = [self._known.get(txn.merchant, self._overall) for txn in txns]
        ranked = [_filled(labels, self._overall[0]) for labels, _ in found]
        return Answers(ranked, np.array([share for _, share in found]))


class UserLookup:
    """The most frequent label that the user gave the merchant; else all users; else the user.

    Its confidence is that label's share of the rows that were counted.
    """

    def fit(self, txns: Txns, labels: Labels) -> None:
        counts: defaultdict[tuple[str | None, str | None], Counter[str]] = defaultdict(Counter)
        for txn, label in zip(txns, labels, strict=True):
            for key in _lookup_keys(txn):
                counts[key][label] += 1
        self._overall = _ranking(Counter(labels))
        self._known = {key: _ranking(found) for key, found in counts.items()}

    def answer(self, txns: Txns) -> Answers:
        found = [
            next((self._known[key] for key in _lookup_keys(txn) if key in self._known), None)
            or self._overall
            for txn in txns
        ]
        ranked = [_filled(labels, self._overall[0]) for labels, _ in found]
        return Answers(ranked, np.array([share for _, share in found]))


def _lookup_keys(txn: RawTransaction) -> list[tuple[str | None, str | None]]:
    """The most specific first. Without a user, only that of the merchant."""
    by_merchant = (None, txn.merchant)
    if txn.user_id is None:
        return [by_merchant]
    return [(txn.user_id, txn.merchant), by_merchant, (txn.user_id, None)]


class LastLookup:
    """The last label of the merchant as printed; of an unseen one, the most frequent of all."""

    def fit(self, txns: Txns, labels: Labels) -> None:
        counts: defaultdict[str | None, Counter[str]] = defaultdict(Counter)
        last: dict[str | None, str] = {}
        for txn, label in zip(txns, labels, strict=True):
            counts[txn.merchant][label] += 1
            last[txn.merchant] = label
        self._known = {
            merchant: (label, counts[merchant][label] / counts[merchant].total())
            for merchant, label in last.items()
        }
        ranked, share = _ranking(Counter(labels))
        self._overall = ranked[0], share

    def answer(self, txns: Txns) -> Answers:
        found = [self._known.get(txn.merchant, self._overall) for txn in txns]
        return Answers([(label,) for label, _ in found], np.array([share for _, share in found]))


def _ranking(counts: Counter[str]) -> tuple[tuple[str, ...], float]:
    """The TOP most frequent labels, of two as frequent the first by name; the first one's share."""
    best = sorted(counts, key=lambda label: (-counts[label], label))[:TOP]
    return tuple(best), counts[best[0]] / counts.total()


def _filled(labels: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    return (*labels, *(other for other in others if other not in labels))[:TOP]

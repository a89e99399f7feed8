"""Merchant history: the labels that one user gave one merchant before.

The most specific text that has a history speaks: the rows with the same description, or else the
other descriptions of the merchant, each of which counts once. Other descriptions of a payment
service (`shared.text.collectors`) are other shops and say nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Container, Mapping, Sequence
from typing import NamedTuple

from shared.features.extract import FeatureRow
from shared.model.thresholds import RepeatRates, repeat_cell
from shared.text.collectors import is_collector

NOTHING_REJECTED: frozenset[str] = frozenset()


class PastLabel(NamedTuple):
    """How often a user gave a merchant this label, for one description or for all not asked for."""

    text: str | None  # the description; None where it is none of those asked for
    label: str
    rows: int
    texts: int  # different descriptions; a row without one counts as one of its own
    last: dt.date
    age: int  # of the newest of these labels: 1 is the user's newest for the merchant
    corrected: bool  # whether that one corrected a suggestion


class Rejection(NamedTuple):
    """A label that a user refused for a merchant."""

    text: str | None  # the description; None before the features of the transaction are built
    label: str


class LabelCount(NamedTuple):
    """How often a label was given, and when last."""

    times: int
    last: dt.date


class MerchantHistory(NamedTuple):
    """The newest labels, at least one and at most RECENT."""

    counts: Mapping[str, LabelCount]  # by label
    newest: str  # the label given last
    is_correction: bool = False  # whether the newest label corrected a suggestion
    same_text: bool = True  # False: the counts are of other descriptions

    @property
    def times(self) -> int:
        """How many labels these are."""
        return sum([count.times for count in self.counts.values()])

    def candidates(self, rates: RepeatRates) -> list[tuple[str, float]]:
        """The labels, each with how often the next one was the same, the likeliest first."""
        times = self.times
        found = [
            (
                label,
                repeat_cell(
                    count.times, times, newest=label == self.newest, same_text=self.same_text
                ).rate(rates),
            )
            for label, count in self.counts.items()
        ]
        return sorted(found, key=lambda item: -item[1]) if len(found) > 1 else found

    def reason(self, label: str) -> str:
        """The counts in words."""
        count, times = self.counts[label], self.times
        share = "the one time" if times == 1 else f"{count.times} of {times} times"
        if not self.same_text:
            share = f"for {count.times} of {times} other descriptions"
        return f"you chose {label} for this merchant {share}, last for {count.last}"


def same_text_speaks(row: FeatureRow, texts: Container[str | None]) -> bool | None:
    """Which of these descriptions, given to the merchant before, speak for *row*.

    True: the same, or all where it has none; False: the others; None: none of them.
    """
    if not row.norm_desc or row.norm_desc in texts:
        return True
    return None if is_collector(row.merchant) else False


def merchant_history(row: FeatureRow, past: Sequence[PastLabel]) -> MerchantHistory | None:
    """The history that speaks for *row*, of all that its user called its merchant; None if none."""
    if not past:
        return None
    same_text = same_text_speaks(row, [it.text for it in past])
    if same_text is None:
        return None
    if same_text and row.norm_desc:
        past = [it for it in past if it.text == row.norm_desc]
    counts: dict[str, LabelCount] = {}
    for it in past:
        times, last = it.rows if same_text else it.texts, it.last
        if earlier := counts.get(it.label):
            times, last = times + earlier.times, max(last, earlier.last)
        counts[it.label] = LabelCount(times, last)
    newest = min(past, key=lambda it: it.age)
    return MerchantHistory(counts, newest.label, newest.corrected, same_text)


def rejected_labels(row: FeatureRow, rejections: Collection[Rejection]) -> frozenset[str]:
    """The labels that must not be suggested for *row*, of those refused for its merchant."""
    if not rejections:
        return NOTHING_REJECTED
    one_shop = not row.norm_desc or not is_collector(row.merchant)
    texts = (row.norm_desc, None)
    return frozenset(it.label for it in rejections if one_shop or it.text in texts)

"""Merchant history: the labels that one user gave one merchant before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple

from shared.model.thresholds import RepeatRates, share_bin, times_bin


class LabelCount(NamedTuple):
    """How often a label was given, and when last."""

    times: int
    last: dt.date


class MerchantHistory(NamedTuple):
    """The newest labels, at least one and at most RECENT."""

    counts: Mapping[str, LabelCount]  # by label, the most frequent first
    corrected_to: str | None = None  # the newest label, if it corrected a suggestion

    @property
    def labels(self) -> list[str]:
        """The likeliest first; a correction goes before all earlier labels."""
        return sorted(self.counts, key=lambda label: label != self.corrected_to)

    @property
    def times(self) -> int:
        """How many labels these are."""
        return sum([count.times for count in self.counts.values()])

    def confidence(self, label: str, rates: RepeatRates) -> float:
        """How often the next label was the same, for merchants with such counts."""
        times = self.times
        return rates[times_bin(times)][share_bin(self.counts[label].times / times)]

    def reason(self, label: str) -> str:
        """The counts in words."""
        count, times = self.counts[label], self.times
        share = "the one time" if times == 1 else f"{count.times} of {times} times"
        return f"you chose {label} for this merchant {share}, last for {count.last}"

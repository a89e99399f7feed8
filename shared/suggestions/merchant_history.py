"""What a user has called a merchant before, and so what he is likely to call it next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple

from shared.model.thresholds import RepeatRates, share_bin, times_bin


class LabelCount(NamedTuple):
    """One label of a merchant."""

    times: int
    last: dt.date


class MerchantHistory(NamedTuple):
    """The newest labels of one merchant by one user, at least one.

    Attributes:
        told: by label, the most frequent first.
        corrected_to: what his newest word on it was, if that corrected a suggestion.
    """

    counts: Mapping[str, LabelCount]
    corrected_to: str | None = None

    @property
    def labels(self) -> list[str]:
        """The likeliest first; a correction goes before all that was said earlier."""
        return sorted(self.counts, key=lambda label: label != self.corrected_to)

    @property
    def times(self) -> int:
        """How often the merchant was labelled, up to RECENT."""
        return sum([told.times for told in self.counts.values()])

    def confidence(self, label: str, trust: RepeatRates) -> float:
        """How often the next label of such a merchant was one remembered like *label*."""
        times = self.times
        return trust[times_bin(times)][share_bin(self.counts[label].times / times)]

    def reason(self, label: str) -> str:
        """For a person to check."""
        told, times = self.counts[label], self.times
        counted = "the one time" if times == 1 else f"{told.times} of {times} times"
        return f"you chose {label} for this merchant {counted}, last for {told.last}"

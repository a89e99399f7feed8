"""Merchant history: what one user called one merchant before."""

from __future__ import annotations

import datetime as dt

from shared.model.thresholds import DEFAULT_REPEAT_RATES, share_bin, times_bin
from shared.suggestions.merchant_history import LabelCount, MerchantHistory

DAY = dt.date(2026, 5, 1)
MIXED = {"Food": LabelCount(3, DAY), "Gifts": LabelCount(1, DAY)}


def test_most_frequent_label_comes_first_unless_another_was_a_correction() -> None:
    assert MerchantHistory(MIXED).labels == ["Food", "Gifts"]
    assert MerchantHistory(MIXED, corrected_to="Gifts").labels == ["Gifts", "Food"]


def test_confidence_is_the_repeat_rate_of_such_counts() -> None:
    history = MerchantHistory(MIXED)

    assert history.times == 4
    assert (
        history.confidence("Food", DEFAULT_REPEAT_RATES)
        == (DEFAULT_REPEAT_RATES[times_bin(4)][share_bin(3 / 4)])
    )
    assert history.confidence("Food", DEFAULT_REPEAT_RATES) > history.confidence(
        "Gifts", DEFAULT_REPEAT_RATES
    )


def test_reason_has_the_counts_in_words() -> None:
    once = MerchantHistory({"Food": LabelCount(1, DAY)})

    assert MerchantHistory(MIXED).reason("Food") == (
        "you chose Food for this merchant 3 of 4 times, last for 2026-05-01"
    )
    assert once.reason("Food").startswith("you chose Food for this merchant the one time")

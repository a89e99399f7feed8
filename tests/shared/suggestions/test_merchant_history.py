"""Merchant history: what one user called one merchant before."""

from __future__ import annotations

import datetime as dt

import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.thresholds import DEFAULT_REPEAT_RATES, repeat_cell
from shared.suggestions.merchant_history import (
    LabelCount,
    MerchantHistory,
    PastLabel,
    Rejection,
    merchant_history,
    rejected_labels,
)

DAY = dt.date(2026, 5, 1)
MIXED = MerchantHistory({"Food": LabelCount(3, DAY), "Gifts": LabelCount(1, DAY)}, newest="Food")


def bought(merchant: str, description: str = "") -> FeatureRow:
    return features_of(RawTransaction(merchant=merchant, description=description))


def past(text: str, label: str, rows: int = 1, age: int = 1, texts: int = 1) -> PastLabel:
    return PastLabel(text, label, rows, texts, DAY, age, corrected=False)


SONGS = past("songs by mail", "Music", rows=4)


def test_confidence_is_the_repeat_rate_of_such_counts() -> None:
    cell = repeat_cell(3, 4, newest=True)

    assert MIXED.times == 4
    assert MIXED.candidates(DEFAULT_REPEAT_RATES)[0] == ("Food", cell.rate(DEFAULT_REPEAT_RATES))


def test_label_given_last_outweighs_one_given_as_often() -> None:
    counts = {"Food": LabelCount(2, DAY), "Gifts": LabelCount(2, DAY)}
    history = MerchantHistory(counts, newest="Gifts")

    (first, confidence), (second, less) = history.candidates(DEFAULT_REPEAT_RATES)

    assert (first, second) == ("Gifts", "Food")
    assert confidence > less


def test_same_description_speaks_before_the_others_of_its_merchant() -> None:
    shoes = past("shoe shop", "Clothes", age=1)
    songs = SONGS._replace(age=2)

    history = merchant_history(bought("PayPal", "Songs by mail"), [shoes, songs])

    assert history == MerchantHistory({"Music": LabelCount(4, DAY)}, "Music")


def test_other_descriptions_of_a_payment_service_say_nothing() -> None:
    assert merchant_history(bought("PayPal", "Shoe shop"), [SONGS]) is None


def test_each_other_description_of_a_shop_counts_once() -> None:
    history = merchant_history(bought("Krontal", "Shoes"), [SONGS, past("a hat", "Clothes", age=9)])

    assert history == MerchantHistory(
        {"Music": LabelCount(1, DAY), "Clothes": LabelCount(1, DAY)}, "Music", same_text=False
    )


@pytest.mark.parametrize("merchant", ["PayPal", "Krontal"])
def test_row_without_a_description_has_the_history_of_its_whole_merchant(merchant: str) -> None:
    history = merchant_history(bought(merchant), [SONGS, past("shoe shop", "Clothes", age=2)])

    assert history is not None
    assert history.counts == {"Music": LabelCount(4, DAY), "Clothes": LabelCount(1, DAY)}
    assert history.same_text


def test_without_labels_there_is_no_history() -> None:
    assert merchant_history(bought("Krontal"), []) is None


def test_rejection_holds_for_all_of_a_shop_but_one_description_of_a_payment_service() -> None:
    refused = [Rejection("shoe shop", "Music")]

    assert rejected_labels(bought("Krontal", "Songs"), refused) == {"Music"}
    assert rejected_labels(bought("PayPal", "Shoe shop"), refused) == {"Music"}
    assert rejected_labels(bought("PayPal", "Songs"), refused) == frozenset()


def test_reason_has_the_counts_in_words() -> None:
    once = MerchantHistory({"Food": LabelCount(1, DAY)}, newest="Food")

    assert MIXED.reason("Food") == (
        "you chose Food for this merchant 3 of 4 times, last for 2026-05-01"
    )
    assert once.reason("Food").startswith("you chose Food for this merchant the one time")
    assert MIXED._replace(same_text=False).reason("Food") == (
        "you chose Food for this merchant for 3 of 4 other descriptions, last for 2026-05-01"
    )

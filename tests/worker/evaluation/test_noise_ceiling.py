"""The noise ceiling, where it can be worked out by hand or is known because the noise is made."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from worker.evaluation.noise_ceiling import noise_ceiling

START = dt.date(2026, 1, 1)
NOT_RIGHT_ONCE = {"accuracy": 0.0, "f1_macro": 0.0}


def bought(shop: str, day: int | None, amount: float = -5, memo: str = "") -> FeatureRow:
    date = None if day is None else START + dt.timedelta(days=day)
    return features_of(RawTransaction(merchant=shop, amount=amount, description=memo, date=date))


def estimate(
    rows: list[FeatureRow], labels: list[str], model: dict[str, float | None] = NOT_RIGHT_ONCE
) -> dict[str, Any]:
    """The ceiling with every row judged."""
    return noise_ceiling(rows, labels, range(len(rows)), model)


def test_noise_ceiling_of_consistent_labels_is_one():
    rows = [bought(shop, day) for day in range(5) for shop in ("bean", "pump")]

    found = estimate(rows, ["coffee", "fuel"] * 5)

    assert (found["rows"], found["accuracy"], found["f1_macro"]) == (10, 1.0, 1.0)


def test_noise_ceiling_of_a_merchant_is_the_share_of_its_commonest_label():
    """Coffee's F1 is 2 * 15 / (20 + 15), and that of snacks, never the answer, is 0."""
    rows = [bought("bean", day) for day in range(20)]

    found = estimate(rows, ["coffee", "coffee", "coffee", "snacks"] * 5)

    assert found["accuracy"] == pytest.approx(0.75)
    assert found["f1_macro"] == pytest.approx((6 / 7 + 0) / 2)


def test_noise_ceiling_is_the_mean_of_a_low_and_a_high_estimate():
    """Of two rows that differ, the other one is never right, and both together are once."""
    found = estimate([bought("bean", 1), bought("bean", 2)], ["coffee", "snacks"])

    assert (found["low"]["accuracy"], found["high"]["accuracy"]) == (0.0, 0.5)
    assert found["accuracy"] == 0.25


def test_rows_of_one_day_do_not_predict_each_other():
    """A purchase split in two lines has one label twice, however noisy the labels are."""
    labels = [name for name in ("coffee", "snacks", "gifts", "office") for _ in range(2)]

    found = estimate([bought("bean", number // 2) for number in range(8)], labels)

    assert found["low"]["accuracy"] == 0.0


def test_undated_rows_predict_each_other():
    found = estimate([bought("bean", None)] * 3, ["coffee"] * 3)

    assert (found["rows"], found["accuracy"]) == (3, 1.0)


def test_differences_explained_by_other_features_are_no_noise():
    """Small sums are coffee and large ones are beans, for ever; the memo likewise."""
    by_amount = [bought("bean", day, amount=-4 if day % 2 else -40) for day in range(10)]
    by_memo = [bought("bean", day, memo="to go" if day % 2 else "sack") for day in range(10)]

    assert estimate(by_amount, ["beans", "coffee"] * 5)["accuracy"] == 1.0
    assert estimate(by_memo, ["beans", "coffee"] * 5)["accuracy"] == 1.0


def test_amounts_of_a_size_are_alike_even_if_no_amount_occurs_twice():
    """Fuel costs about fifty, and sweets about three."""
    rows = [
        bought("kiosk", day, -3 - day / 100 if day % 2 else -50 - day / 100) for day in range(20)
    ]

    assert estimate(rows, ["fuel", "sweets"] * 10)["accuracy"] == 1.0


def test_row_without_a_neighbour_is_looked_up_by_merchant():
    rows = [bought(f"BEAN #{day:04}", day, amount=-day - 1) for day in range(10)]

    assert rows[0].merchant == rows[1].merchant
    assert estimate(rows, ["coffee"] * 10)["rows"] == 10


def test_merchant_seen_once_does_not_enter_the_noise_ceiling():
    rows = [*(bought("bean", day) for day in range(5)), bought("newcomer", 9)]

    found = estimate(rows, ["coffee"] * 5 + ["gifts"])

    assert (found["rows"], found["accuracy"]) == (5, 1.0)


@pytest.mark.parametrize(
    "rows",
    [[], [bought("bean", 1)], [bought("", day) for day in range(5)]],
    ids=["none", "one", "no text"],
)
def test_without_rows_to_compare_there_is_no_estimate(rows):
    found = estimate(rows, ["coffee"] * len(rows))

    assert (found["rows"], found["accuracy"], found["f1_macro"]) == (0, None, None)


def test_noise_ceiling_is_not_below_the_score_of_the_model():
    model = {"accuracy": 0.9, "f1_macro": 0.8}

    found = estimate([bought("bean", 1), bought("bean", 2)], ["coffee", "snacks"], model)

    assert (found["accuracy"], found["f1_macro"]) == (0.9, 0.8)


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_added_label_noise_is_estimated_correctly(noise):
    """Each of 200 merchants has one true label of ten; a share of its ten rows has another."""
    draw = random.Random(7)
    names = [f"label {number}" for number in range(10)]
    rows, labels = [], []
    for number in range(200):
        true = draw.choice(names)
        others = [name for name in names if name != true]
        for day in range(10):
            rows.append(bought(f"shop {chr(97 + number % 26)}{number}x", day))
            labels.append(draw.choice(others) if draw.random() < noise else true)

    found = estimate(rows, labels)

    assert found["accuracy"] == pytest.approx(1 - noise, abs=0.02)
    assert found["f1_macro"] == pytest.approx(1 - noise, abs=0.02)

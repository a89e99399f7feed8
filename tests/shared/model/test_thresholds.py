"""The confidence that each layer needs, and how often the labels of a merchant repeat."""

from __future__ import annotations

import json

import pytest

from shared.model.thresholds import (
    DEFAULT_REPEAT_RATES,
    SHARES,
    TIMES,
    Thresholds,
    repeat_cell,
)

LEARNED = Thresholds(model={"Gifts": 0.95, "Fuel": 0.6}, model_default=0.8, memory=0.65)


@pytest.mark.parametrize(
    ("of_times", "place"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (9, 3), (10, 4), (50, 4)]
)
def test_number_of_labels_gives_the_row_of_the_repeat_rates(of_times: int, place: int) -> None:
    assert repeat_cell(1, of_times, newest=True).times == place


@pytest.mark.parametrize(("times", "place"), [(1, 0), (50, 1), (79, 1), (80, 2), (99, 2), (100, 3)])
def test_share_of_a_label_gives_the_column_of_the_repeat_rates(times: int, place: int) -> None:
    assert repeat_cell(times, 100, newest=True).share == place


def test_default_repeat_rates_grow_with_the_share_and_are_larger_for_the_newest_label() -> None:
    for older, newest in DEFAULT_REPEAT_RATES:
        assert len(older) == len(newest) == len(TIMES)
        for rates, larger in zip(older, newest, strict=True):
            assert len(rates) == len(larger) == len(SHARES)
            assert [*larger] == sorted(larger)
            assert [*rates] == sorted(rates)
            assert all(0 <= rate <= more < 1 for rate, more in zip(rates, larger, strict=True))


def test_setting_for_a_label_replaces_its_threshold_alone() -> None:
    changed = LEARNED.with_overrides({"Gifts": 0.5, "Rent": 0.9})

    assert changed.model == {"Gifts": 0.5, "Fuel": 0.6, "Rent": 0.9}
    assert (changed.model_default, changed.memory) == (0.8, 0.65)


def test_setting_for_all_labels_replaces_what_was_learned_for_each() -> None:
    changed = LEARNED.with_overrides({"*": 0.5, "Gifts": 0.9})

    assert (changed.model, changed.model_default) == ({"Gifts": 0.9}, 0.5)
    assert changed.memory == 0.65


def test_no_setting_changes_nothing() -> None:
    assert LEARNED.with_overrides({}) == LEARNED


def test_thresholds_are_the_same_after_a_trip_through_json() -> None:
    assert Thresholds.from_json(json.loads(json.dumps(LEARNED.as_json()))) == LEARNED

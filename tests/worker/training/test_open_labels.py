"""A label is open if enough users use it; the linear models have columns for a bounded number."""

from __future__ import annotations

import numpy as np
import pytest

from shared.model.label_history import NO_KEY
from worker.training import open_labels
from worker.training.open_labels import LabelOrder, LabelSharing, order_labels

NAMES = ("food", "fuel", "own of ada", "own of bob", "rent")


def order(*rows: tuple[str, int], sharing: LabelSharing = LabelSharing()) -> LabelOrder:  # noqa: B008
    """The order of rows with a label and a user; 0 is none."""
    labels = np.array([NAMES.index(label) for label, _ in rows])
    users = np.array([user or NO_KEY for _, user in rows], dtype=np.uint64)
    return order_labels(labels, users, NAMES, sharing)


def open_names(found: LabelOrder) -> set[str]:
    return {NAMES[label] for label in found.ids[found.is_open].tolist()}


def test_label_of_three_users_is_open_and_of_two_is_closed() -> None:
    found = order(("food", 1), ("food", 2), ("food", 3), ("fuel", 1), ("fuel", 2), ("fuel", 2))

    assert open_names(found) == {"food"}


def test_rows_without_a_user_open_no_label_where_there_are_users() -> None:
    found = order(("food", 0), ("food", 0), ("food", 0), ("fuel", 1))

    assert open_names(found) == set()


def test_without_any_users_all_labels_are_open() -> None:
    assert open_names(order(("food", 0), ("fuel", 0))) == {"food", "fuel"}


def test_household_that_says_so_shares_all_labels() -> None:
    found = order(("food", 1), ("fuel", 2), ("rent", 0), sharing=LabelSharing(users=1))

    assert open_names(found) == {"food", "fuel", "rent"}


def test_declared_label_is_open_whoever_uses_it() -> None:
    found = order(("food", 1), ("fuel", 1), sharing=LabelSharing(declared=frozenset({"fuel"})))

    assert open_names(found) == {"fuel"}


def test_open_labels_come_first_and_each_row_keeps_its_label() -> None:
    rows = (("own of ada", 1), ("food", 1), ("food", 2), ("food", 3), ("own of bob", 2))

    found = order(*rows)

    assert [NAMES[label] for label in found.ids] == ["food", "own of ada", "own of bob"]
    assert [NAMES[found.ids[place]] for place in found.rows] == [label for label, _ in rows]


def test_closed_labels_fill_up_the_columns_and_the_frequent_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_labels, "CLOSED_COLUMNS", 2)
    shared = [("food", user) for user in (1, 2, 3)]

    found = order(*shared, ("own of ada", 1), ("own of bob", 2), ("own of bob", 2))

    assert found.column_count == 2
    assert [NAMES[label] for label in found.ids] == ["food", "own of bob", "own of ada"]


def test_of_many_open_labels_the_frequent_have_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_labels, "OPEN_COLUMNS", 1)
    monkeypatch.setattr(open_labels, "CLOSED_COLUMNS", 0)

    found = order(("food", 0), ("fuel", 0), ("fuel", 0))

    assert found.column_count == 1
    assert [NAMES[label] for label in found.ids] == ["fuel", "food"]
    assert found.is_open.all()

"""Spellings that differ in case and spaces are one label, and users read their own."""

from __future__ import annotations

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.classifier import Model
from worker.training import fit
from worker.training.label_names import name_labels


def rows_of(user: str, shop: str, count: int) -> list[FeatureRow]:
    return [features_of(RawTransaction(merchant=shop, amount=-9, user_id=user))] * count


def model_of(*labelled: tuple[str, str, str]) -> Model:
    """Trained on ten rows for each user, shop and label."""
    rows, labels = [], []
    for user, shop, label in labelled:
        rows += rows_of(user, shop, 10)
        labels += [label] * 10
    return fit.fit(rows, labels)


def test_spellings_of_a_label_are_one_and_the_most_frequent_is_usual() -> None:
    names = name_labels(["Food", "food ", "Food", "FOOD", "Car  wash", "car wash", "car wash"])

    assert names.folded == ("car wash", "food")
    assert names.usual == ("car wash", "Food")
    assert names.ids.tolist() == [1, 1, 1, 1, 0, 0, 0]


def test_each_user_reads_their_own_spelling() -> None:
    model = model_of(
        ("ada", "grocer", "Food"),
        ("bob", "grocer", "Food"),
        ("eve", "grocer", "  FOOD"),
        ("ada", "pump", "Fuel"),
        ("bob", "pump", "Fuel"),
        ("eve", "pump", "Fuel"),
    )

    (ada, eve, new) = model.predict_many(
        [rows_of(user, "grocer", 1)[0] for user in ("ada", "eve", "new")]
    )

    assert (ada.label, eve.label, new.label) == ("Food", "  FOOD", "Food")
    assert set(model.labels) == {"Food", "Fuel"}


def test_spellings_are_the_same_after_a_trip_through_files() -> None:
    users = ("ada", "bob", "eve")
    model = model_of(*((user, "grocer", "food" if user == "eve" else "Food") for user in users))

    again = Model.from_files(model.to_files())

    assert again.predict(rows_of("eve", "grocer", 1)[0]).label == "food"
    assert again.predict(rows_of("ada", "grocer", 1)[0]).label == "Food"

"""Cold start: the default category of a text, or the user's own name for it."""

from __future__ import annotations

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.suggestions.cold_start import PRIOR_PRECISION, LabelProfile


def row(merchant: str) -> FeatureRow:
    return features_of(RawTransaction(merchant=merchant, amount=-5.0))


def test_without_labels_it_is_the_default_category_with_its_usual_precision() -> None:
    found = LabelProfile().cold_start(row("STARBUCKS 12"))

    assert found is not None
    assert (found.label, found.confidence) == ("Coffee", PRIOR_PRECISION["brand"])
    assert found.reason == "brand: Starbucks"


def test_unknown_text_has_no_suggestion() -> None:
    assert LabelProfile().cold_start(row("KRONTAL 12")) is None


def test_label_that_the_user_gave_to_a_category_replaces_its_default() -> None:
    profile = LabelProfile()
    for _ in range(3):
        profile.learn(row("COSTA COFFEE"), "Treats")

    found = profile.cold_start(row("STARBUCKS 12"))

    assert found is not None
    assert found.label == "Treats"
    assert found.reason == "brand: Starbucks; you chose Treats for 3 of 3 such"


def test_users_name_for_a_category_is_used_before_any_row_of_it_is_labelled() -> None:
    profile = LabelProfile()
    profile.learn(row("KRONTAL 12"), "Coffee Shops")

    found = profile.cold_start(row("STARBUCKS 12"))

    assert found is not None
    assert found.label == "Coffee Shops"


def test_labels_that_contradict_the_defaults_lower_the_confidence() -> None:
    profile = LabelProfile()
    for _ in range(5):
        profile.learn(row("SHELL OIL"), "Work")

    found = profile.cold_start(row("STARBUCKS 12"))

    assert found is not None
    assert found.confidence < PRIOR_PRECISION["brand"]

"""Cold start: the default category of a text, or the user's own name for it."""

from __future__ import annotations

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.model.thresholds import Thresholds
from shared.suggestions.cold_start import GUESS_PRECISION, LabelProfile


def row(merchant: str) -> FeatureRow:
    return features_of(RawTransaction(merchant=merchant, amount=-5.0))


def test_without_labels_it_is_the_default_category_and_too_unsure_to_be_shown() -> None:
    found = LabelProfile().cold_start(row("STARBUCKS 12"))

    assert found is not None
    assert (found.label, found.confidence) == ("Coffee", GUESS_PRECISION)
    assert found.confidence < Thresholds().starter
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


def test_equal_labels_of_a_category_make_it_sure_enough_to_be_shown() -> None:
    profile, confidence = LabelProfile(), []
    for _ in range(20):
        profile.learn(row("COSTA COFFEE"), "Treats")
        found = profile.cold_start(row("STARBUCKS 12"))
        assert found is not None
        confidence.append(found.confidence)

    assert confidence == sorted(confidence)
    assert confidence[2] < Thresholds().starter < confidence[-1]


def test_labels_that_differ_make_it_less_sure() -> None:
    pure, mixed = LabelProfile(), LabelProfile()
    for count in range(10):
        pure.learn(row("COSTA COFFEE"), "Treats")
        mixed.learn(row("COSTA COFFEE"), "Treats" if count % 3 else "Work")

    sure, unsure = (it.cold_start(row("STARBUCKS 12")) for it in (pure, mixed))

    assert sure is not None
    assert unsure is not None
    assert sure.label == unsure.label == "Treats"
    assert sure.confidence > unsure.confidence

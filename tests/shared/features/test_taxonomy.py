"""The built-in categories: their names, aliases, merchant category codes and keywords."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from local.demo.sample_merchants import CATEGORIES, REGULARS
from local.setup import make_brands
from shared.features.brands import MARKS
from shared.features.taxonomy import (
    KeywordMatch,
    bank_names,
    categories,
    category_of_label,
    category_of_mcc,
    match_keyword,
    parent_category,
)
from shared.text.normalize import spaced

DATA = Path(make_brands.DATA)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *(("5411", "Groceries"), ("5812", "Restaurants"), ("5814", "Fast Food"), ("5541", "Fuel")),
        *(("3000", "Flights"), ("3058", "Flights"), ("3350", "Flights"), ("4511", "Flights")),
        *(("3351", "Travel"), ("3441", "Travel"), ("7512", "Travel"), ("3501", "Hotels")),
        *(("3999", "Hotels"), ("7011", "Hotels"), ("4121", "Taxi"), ("4111", "Public Transport")),
        *(("5912", "Pharmacy"), ("8021", "Health"), ("6011", "Cash"), ("4900", "Utilities")),
        *(("6300", "Insurance"), ("8398", "Donations"), ("0742", "Pets"), ("7995", "Gambling")),
        *(("9950", None), ("0000", None), ("12", None), ("", None), ("abcd", None)),
    ],
)
def test_merchant_category_code_has_a_category(code, kind):
    """By the ranges of ISO 18245."""
    assert category_of_mcc(code) == kind


def test_each_code_and_keyword_belongs_to_one_category():
    """What is written twice in categories.toml would be decided by its order."""
    entries = tomllib.loads((DATA / "categories.toml").read_text(encoding="utf-8")).values()
    for field in ("words", "ends", "brands"):
        names = [one for entry in entries for one in entry[field].split(",") if one.strip()]
        phrases = [" ".join(one.split()).lstrip(MARKS) for one in names]
        assert sorted(phrases) == sorted(set(phrases)), field
    spans = [span.partition("-") for entry in entries for span in entry["mcc"].split(",") if span]
    codes = [code for low, _, high in spans for code in range(int(low), int(high or low) + 1)]
    assert sorted(codes) == sorted(set(codes))


def test_vocabulary_is_written_in_folded_form():
    """An accent or a capital there would never be found."""
    phrases = [name.lstrip(MARKS) for name in bank_names()]

    assert [name for name in phrases if " ".join(spaced(name).split()) != name] == []


LABELS = {
    "Groceries": "Groceries",
    "🛒 Groceries": "Groceries",
    "Groceries (weekly)": "Groceries",
    "food shopping": "Groceries",
    "Groceries:Supermarket": "Groceries",
    "Lebensmittel": "Groceries",
    "Restaurants/Dining": "Restaurants",
    "Coffee Shops": "Coffee",
    "Alcohol & Bars": "Alcohol & Bars",
    "Gas & Fuel": "Fuel",
    "Auto & Transport: Gas": "Fuel",
    "Utilities:Gas": "Utilities",
    "Public transit": "Public Transport",
    "Travel - Hotels": "Hotels",
    "Mortgage & Rent": "Rent",
    "Loyer": "Rent",
    "Phone bill": "Phone & Internet",
    "Bills & Utilities": "Utilities",
    "Car expenses": "Car",
    "Haircut": "Hair & Beauty",
    "Paycheck": "Salary",
    "Income: Salary": "Salary",
    "Credit Card Payment": "Transfers",
    "Pet Care": "Pets",
    "Stuff": None,
    "Other": None,
    "Fun money": None,
    "Grocer1es": None,
    "Travel & Pets": None,
    "": None,
    "&": None,
}


@pytest.mark.parametrize(("label", "kind"), LABELS.items())
def test_user_label_maps_to_a_built_in_category_or_to_none(label, kind):
    """By exact names and aliases; what is not clear has none."""
    assert category_of_label(label) == kind


def test_each_built_in_category_maps_to_itself():
    """The list of kinds is sound."""
    assert [kind for kind in categories() if category_of_label(kind.upper()) != kind] == []
    assert {parent_category(kind) for kind in categories()} <= {*categories(), None}
    assert all(
        parent_category(parent_category(kind) or "") is None
        for kind in categories()
        if kind != "Software"
    )
    assert 35 <= len(categories()) <= 48


def test_the_sample_statements_use_the_same_names():
    """What the demo calls a category, the default list knows."""
    labels = {*CATEGORIES, *(regular.label for regular in REGULARS)}

    assert [label for label in sorted(labels) if category_of_label(label) is None] == []


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("mountain view hotel", ("Hotels", "hotel")),
        ("pizza restaurant", ("Restaurants", "restaurant")),
        ("stadtapotheke am markt", ("Pharmacy", "stadtapotheke")),
        ("zorblax krontal restaura", ("Restaurants", "restaura")),
        ("restaura", None),
        ("smith and sons", None),
        ("", None),
    ],
    ids=[
        "a keyword",
        "the last of several",
        "the ending of a word",
        "the last word of a line that a bank cut short",
        "a short line was not cut",
        "no keyword",
        "nothing",
    ],
)
def test_keywords_of_a_name_point_to_a_category(line: str, match: tuple[str, str] | None) -> None:
    assert match_keyword(line) == (match and KeywordMatch(*match))

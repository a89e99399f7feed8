"""The matcher finds the first rule of a set that fits a transaction."""

from __future__ import annotations

from typing import Any

import pytest

from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.rules.matcher import RuleMatcher
from shared.rules.schema import parse


def row(merchant: str = "", **more: Any) -> FeatureRow:
    return features_of(RawTransaction(**{"merchant": merchant, "amount": -9.5, **more}))


def is_match(rule: dict[str, Any], txn: FeatureRow) -> bool:
    return RuleMatcher(tuple(parse([{"label": "Yes", **rule}]))).match(txn) is not None


@pytest.mark.parametrize(
    ("pattern", "merchant", "fits"),
    [
        ("Tim Hortons", "TIM HORTONS #2392", True),
        ("tim hortons", "SQ *TIM HORTONS", True),
        ("Tim Hortons", "TIMHORTONS", False),
        ("hort", "TIM HORTONS", False),
        ("café müller", "CAFE MULLER BERLIN", True),
        ("Пятёрочка", "ПЯТЕРОЧКА 123", True),
        ("/hort.ns/", "TIM HORTONS", True),
        ("/^hortons/", "TIM HORTONS", False),
        ("/(bean|leaf) (house|hut)/", "THE LEAF HUT", True),
    ],
)
def test_texts_are_found_by_whole_words_or_by_regular_expression(
    pattern: str, merchant: str, fits: bool
) -> None:
    assert is_match({"merchant": pattern}, row(merchant)) is fits


@pytest.mark.parametrize(
    ("condition", "txn", "fits"),
    [
        ({"amount": {"min": 9.5}}, row("A"), True),
        ({"amount": {"max": 9.49}}, row("A"), False),
        ({"amount": {"min": 5, "max": 10}}, row("A", amount=7.0), True),
        ({"amount": {"min": 5}}, row("A", amount=None), False),
        ({"direction": "out"}, row("A"), True),
        ({"direction": "in"}, row("A"), False),
        ({"direction": "in"}, row("A", amount=0.0), False),
        ({"account": "main"}, row("A", account="main"), True),
        ({"account": "main"}, row("A"), False),
        ({"channel": "atm"}, row("A", channel="atm"), True),
        ({"description": "standing order"}, row("A", description="Standing Order 17"), True),
        ({"merchant": "a", "direction": "in"}, row("A"), False),
    ],
)
def test_all_conditions_must_hold(condition: dict[str, Any], txn: FeatureRow, fits: bool) -> None:
    assert is_match(condition, txn) is fits


def test_first_enabled_matching_rule_decides() -> None:
    book = RuleMatcher(
        tuple(
            parse(
                [
                    {"label": "Off", "merchant": "bean", "enabled": False},
                    {"label": "Large", "merchant": "bean", "amount": {"min": 100}},
                    {"name": "Beans", "label": "Coffee", "merchant": "bean"},
                    {"label": "Late", "merchant": "bean house"},
                ]
            )
        )
    )

    found = book.match(row("BEAN HOUSE"))

    assert found is not None
    assert (found.label, found.reason) == ("Coffee", 'your rule "Beans"')


def test_pattern_that_backtracks_in_other_engines_is_matched() -> None:
    """With Python's own engine this takes longer than the universe has been there."""
    assert not is_match({"merchant": "/^(a+)+$/"}, row("a" * 100 + " b"))


def test_order_of_rules_is_kept_for_any_number_of_rules() -> None:
    """Blocks of expressions are looked at together; that must not show."""
    plain = [
        {"label": f"L{n}", "merchant": f"/(ab|x){n}$/" if n % 3 else f"word{n}"} for n in range(400)
    ]
    named = [{"label": "N", "merchant": f"/(?P<same>zz{n})$/"} for n in range(60)]
    book = RuleMatcher(tuple(parse([*plain, *named, {"label": "Last", "direction": "out"}])))

    assert [book.find(row(it)) for it in ("AB 1", "XAB7", "WORD399", "SHOP AB397", "ZZ59")] == [
        460, 7, 399, 397, 459,
    ]  # fmt: skip

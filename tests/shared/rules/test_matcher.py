"""Rules as data: what they match, what is refused, and how an order of them decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.features.extract import FeatureRow, RawTransaction, features_of
from shared.rules.matcher import RuleMatcher
from shared.rules.schema import RULES_MAX, parse, to_json


def row(merchant: str = "", **more: Any) -> FeatureRow:
    return features_of(RawTransaction(**{"merchant": merchant, "amount": -9.5, **more}))


def matched(rule: dict[str, Any], txn: FeatureRow) -> bool:
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
    assert matched({"merchant": pattern}, row(merchant)) is fits


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
    assert matched(condition, txn) is fits


def test_the_first_enabled_rule_that_fits_is_the_one_that_counts() -> None:
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


@pytest.mark.parametrize(
    ("rule", "field", "message"),
    [
        ({"label": "A", "merchant": r"/(a)\1/"}, "rules[1].merchant", "RE2"),
        ({"label": "A", "merchant": "/a(?=b)/"}, "rules[1].merchant", "RE2"),
        ({"label": "A", "merchant": "/(/"}, "rules[1].merchant", "RE2"),
        ({"label": "A", "merchant": "***"}, "rules[1].merchant", "no letter"),
        ({"label": "A", "merchant": "a" * 401}, "rules[1].merchant", "400"),
        ({"label": "", "merchant": "a"}, "rules[1].label", "1 character"),
        ({"label": "A"}, "rules[1]", "at least one of merchant"),
        ({"label": "A", "amount": {}}, "rules[1].amount", "min or max"),
        ({"label": "A", "amount": {"min": 5, "max": 1}}, "rules[1].amount", "above"),
        ({"label": "A", "amount": {"min": -1}}, "rules[1].amount.min", "greater"),
        ({"label": "A", "channel": "pigeon"}, "rules[1].channel", "one of"),
        ({"label": "A", "merchant": "a", "shop": "b"}, "rules[1].shop", "not permitted"),
        ("A", "rules[1]", "dictionary"),
    ],
)
def test_what_is_refused_is_named(rule: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse([{"label": "Fine", "merchant": "fine"}, rule])

    [error] = refused.value.errors
    assert error.field == field
    assert message in error.message


def test_too_many_rules_are_refused() -> None:
    with pytest.raises(InvalidInput, match="see errors"):
        parse([{"label": "A", "merchant": "a"}] * (RULES_MAX + 1))


def test_a_pattern_that_others_backtrack_on_for_ever_has_an_answer() -> None:
    """With Python's own engine this takes longer than the universe has been there."""
    assert not matched({"merchant": "/^(a+)+$/"}, row("a" * 100 + " b"))


@given(
    st.lists(
        st.fixed_dictionaries(
            {"label": st.sampled_from(["A", "Über B"]), "merchant": st.sampled_from(["x", "/y+/"])},
            optional={
                "name": st.just("n"),
                "enabled": st.booleans(),
                "amount": st.fixed_dictionaries({"min": st.integers(0, 9)}),
                "direction": st.sampled_from(["in", "out"]),
            },
        ),
        max_size=5,
    )
)
def test_rules_come_back_from_plain_values_as_they_were(plain: list[dict[str, Any]]) -> None:
    rules = parse(plain)

    assert parse(to_json(rules)) == rules


def test_which_rule_is_the_first_is_the_same_however_many_there_are() -> None:
    """Blocks of expressions are looked at together; that must not show."""
    plain = [
        {"label": f"L{n}", "merchant": f"/(ab|x){n}$/" if n % 3 else f"word{n}"} for n in range(400)
    ]
    named = [{"label": "N", "merchant": f"/(?P<same>zz{n})$/"} for n in range(60)]
    book = RuleMatcher(tuple(parse([*plain, *named, {"label": "Last", "direction": "out"}])))

    assert [book.find(row(it)) for it in ("AB 1", "XAB7", "WORD399", "SHOP AB397", "ZZ59")] == [
        460, 7, 399, 397, 459,
    ]  # fmt: skip

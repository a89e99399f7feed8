"""The schema of rules refuses what it cannot read, and names the field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.rules.schema import RULES_MAX, parse, to_json


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
def test_invalid_rule_is_refused_with_its_field(rule: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse([{"label": "Fine", "merchant": "fine"}, rule])

    [error] = refused.value.errors
    assert error.field == field
    assert message in error.message


def test_too_many_rules_are_refused() -> None:
    with pytest.raises(InvalidInput, match="see errors"):
        parse([{"label": "A", "merchant": "a"}] * (RULES_MAX + 1))


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
def test_rules_are_read_back_from_json(plain: list[dict[str, Any]]) -> None:
    rules = parse(plain)

    assert parse(to_json(rules)) == rules

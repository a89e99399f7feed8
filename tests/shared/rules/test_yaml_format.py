"""Rules as YAML: what is written can be read, and what takes long to read is refused."""

from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.features.taxonomy import categories
from shared.rules import yaml_format
from shared.rules.schema import parse


def test_rules_are_read_back_as_they_were_written() -> None:
    rules = parse(
        [
            {"label": "Füel", "merchant": "/shell|bp/", "amount": {"min": 5, "max": 90.5}},
            {"label": "Rent", "direction": "out", "account": "joint: 1", "enabled": False},
        ]
    )

    assert yaml_format.load(yaml_format.dump(rules)) == rules


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rules: [", "is no YAML"),
        ("a: &x 1\nb: *x", "alias"),
        ("rules: [{label: A, label: B}]", "twice"),
        ("rules: " + "[" * 9 + "]" * 9, "nested too deeply"),
        ("rules: [" + "a," * 50_000 + "]", "more than 1,000 rules"),
        ("rules: ['" + "a" * 2_000 + "']", "longer than 1,000"),
        ("- a", "expected one key, rules"),
        ("rules: text", "expected a list"),
        ("rules: [{label: A, merchant: x, amount: much}]", "valid dictionary"),
    ],
)
def test_text_that_is_no_rule_set_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        yaml_format.load(text)

    assert reason in str([error.message for error in refused.value.errors])


def test_starter_rules_are_valid_and_name_built_in_categories() -> None:
    rules = yaml_format.load(yaml_format.starter_rules())

    assert len(rules) > 3
    assert {rule.label for rule in rules} <= set(categories())

"""Patterns of rules: whole words, or a regular expression between slashes."""

from __future__ import annotations

import pytest

from shared.rules.patterns import compile_pattern, expression_of


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("gym", " city gym 12 ", True),
        ("gym", " gymnasium ", False),
        ("City-Gym", " the city gym ", True),
        ("/gym/", " gymnasium ", True),
        ("/^CITY/", " city gym ", True),
        ("/gym$/", " gym 12 ", False),
        ("//", " anything ", False),
        (None, " anything ", True),
    ],
)
def test_words_match_as_a_whole_and_expressions_anywhere(
    pattern: str | None, text: str, is_match: bool
) -> None:
    if pattern == "//":  # no expression between the slashes, and no letter or digit
        with pytest.raises(ValueError, match="no letter and no digit"):
            compile_pattern(pattern)
    else:
        assert compile_pattern(pattern)(text) is is_match


@pytest.mark.parametrize("pattern", ["/(/", r"/(a)\1/", "***"])
def test_unusable_pattern_is_refused_with_the_reason(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"regular expression of RE2|no letter and no digit"):
        compile_pattern(pattern)


def test_expression_stands_between_slashes() -> None:
    assert [expression_of(it) for it in ("/a|b/", "a/b", "/", None)] == ["a|b", None, None, None]

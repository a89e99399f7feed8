"""Patterns of rules: whole words of a folded text, or a regular expression between slashes.

Regular expressions are RE2's, whose time is proportional to the text whatever the pattern.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

from collections.abc import Callable

import re2  # type: ignore[import-untyped]  # has no types

from shared.text.normalize import spaced

Finder = Callable[[str], bool]
_OPTIONS = re2.Options()
_OPTIONS.case_sensitive = False
_OPTIONS.max_mem = 1 << 20  # bytes of one compiled pattern
_OPTIONS.log_errors = False


def compile_pattern(pattern: str | None) -> Finder:
    """Compile a rule's pattern to a test of a folded text between two spaces; None fits every text.

    Raises:
        ValueError: it is not a regular expression of RE2, or has no letter and no digit.
    """
    if pattern is None:
        return match_any
    if expression := expression_of(pattern):
        try:
            search = re2.compile(expression, options=_OPTIONS).search
        except re2.error as error:
            message = error.args[0] if error.args else error
            message = message.decode() if isinstance(message, bytes) else message
            raise ValueError(f"is no regular expression of RE2: {message}") from None
        return lambda text: search(text[1:-1]) is not None
    words = " ".join(spaced(pattern).split())
    if not words:
        raise ValueError("has no letter and no digit")
    padded = f" {words} "
    return lambda text: padded in text


def expression_of(pattern: str | None) -> str | None:
    """The regular expression between the slashes of a pattern; None if the pattern is words."""
    if pattern and len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/"):
        return pattern[1:-1]
    return None


def match_any(_: str) -> bool:
    """Fit every text."""
    return True

"""Escaping of cells against formula injection: a spreadsheet shows them and runs none."""

from __future__ import annotations

import re

# What a spreadsheet takes for the start of a formula, as OWASP lists it under "CSV Injection"
# (owasp.org/www-community/attacks/CSV_Injection): = + - @, tab, carriage return, line feed, and
# the full-width forms. Such a cell gets an apostrophe before it, also where blanks come first. A
# number with its sign, as -4.20 or -1.234,56 EUR, can call nothing and stays a number.
_STARTS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_NUMBER = re.compile(
    r"[+-]? ?[€$£¥]? ?(?:\d[\d.,'\u2019\u00a0\u202f ]*|[.,]\d+)(?:[€$£¥]|[A-Z]{3})?-?", re.ASCII
)


def escape_formula(cell: str) -> str:
    """The cell, with an apostrophe before it if a spreadsheet could run it."""
    bare = cell.lstrip(" ")
    if bare.startswith(tuple(_STARTS)) or cell.strip().startswith(tuple(_STARTS)):
        return cell if _NUMBER.fullmatch(cell.strip()) else "'" + cell
    return cell


def unescape_formula(cell: str) -> str:
    """The text of a cell of an annotated copy, on one line and without the escaping apostrophe."""
    bare = cell.strip()
    if bare.startswith("'") and escape_formula(bare[1:]) != bare[1:]:
        bare = bare[1:]
    return " ".join(bare.split())

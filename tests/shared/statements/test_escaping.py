"""How cells are escaped against formula injection."""

from __future__ import annotations

import pytest

from shared.statements.escaping import escape_formula, unescape_formula


@pytest.mark.parametrize(
    ("cell", "escaped"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3+cmd|x", "'-2+3+cmd|x"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-4.20", "-4.20"),
        ("-1.234,56", "-1.234,56"),
        ("+3,00 EUR", "+3,00 EUR"),
        ("Café = good", "Café = good"),
        ("", ""),
    ],
)
def test_escaped_cell_is_no_formula_and_is_read_back(cell: str, escaped: str) -> None:
    assert escape_formula(cell) == escaped
    assert unescape_formula(escaped) == " ".join(cell.split())

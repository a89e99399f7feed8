"""How cells are parsed: dates, amounts and decimal marks."""

from __future__ import annotations

import pytest

from shared.statements.cell_parsers import (
    BadCell,
    DateFormat,
    amount_parser,
    date_parser,
    decide_date,
    decide_decimal,
    find_date_format,
)


@pytest.mark.parametrize(
    ("values", "name", "assumed"),
    [
        (["2026-01-02", "2026-01-03"], "yyyy-mm-dd", False),
        (["01/02/2026", "13/02/2026"], "dd/mm/yyyy", False),
        (["01/02/2026", "02/13/2026"], "mm/dd/yyyy", False),
        (["01/02/2026", "03/04/2026"], "dd/mm/yyyy", True),
        (["31.01.26"], "dd.mm.yy", False),
        (["20260131"], "yyyymmdd", False),
        (["02 Jan 2026", "13 Feb 2026"], "dd mon yyyy", False),
        (["03-Jan-26"], "dd-mon-yy", False),
        (["Jan 3, 2026"], "mon dd, yyyy", False),
    ],
)
def test_whole_sample_decides_the_date_format(values: list[str], name: str, assumed: bool) -> None:
    format_ = decide_date(values, day_first=True)
    assert format_ is not None
    assert (format_.name, format_.assumed) == (name, assumed)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("2026-01-02T13:45:00Z", ("2026-01-02", "13")),
        ("2026-01-02 09:05", ("2026-01-02", "9")),
        ("2026-01-02 12:05 AM", ("2026-01-02", "0")),
        ("2026-01-02", ("2026-01-02", "\\N")),
    ],
)
def test_time_beside_the_date_gives_the_hour(text: str, parsed: tuple[str, str]) -> None:
    assert date_parser(DateFormat("yyyy-mm-dd"))(text) == parsed


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("15 août 2026", "2026-08-15"),
        ("15 März 2026", "2026-03-15"),
        ("15 juil. 2026", "2026-07-15"),
        ("15 dic 2026", "2026-12-15"),
    ],
)
def test_months_may_be_words(text: str, day: str) -> None:
    assert date_parser(DateFormat("dd mon yyyy"))(text)[0] == day


@pytest.mark.parametrize("text", ["1899-12-31", "2201-01-01", "2026-02-30", "2026-01-02 25:00"])
def test_impossible_dates_are_refused(text: str) -> None:
    with pytest.raises(BadCell, match="date '"):
        date_parser(DateFormat("yyyy-mm-dd"))(text)


@pytest.mark.parametrize(
    ("decimal", "text", "parsed"),
    [
        (".", "12.50", "12.50"),
        (".", "1,234.56", "1234.56"),
        (".", "12,34,567.89", "1234567.89"),
        (".", "1'234.56", "1234.56"),
        (".", "1’234.56", "1234.56"),
        (".", "$1,234", "1234"),
        (".", "-$5.00", "-5.00"),
        (".", "(12.50)", "-12.50"),
        (".", "12.50-", "-12.50"),
        (".", "−12.50", "-12.50"),
        (".", "12.50 DR", "-12.50"),
        (".", ".5", "0.5"),
        (",", "1.234,56", "1234.56"),
        (",", "1 234,56 €", "1234.56"),
        (",", "1\u00a0234,56", "1234.56"),
        (",", "-1\u202f234,56", "-1234.56"),
        (",", "EUR 12,5", "12.5"),
    ],
)
def test_amounts_are_parsed_as_banks_write_them(decimal: str, text: str, parsed: str) -> None:
    assert amount_parser("," if decimal == "," else ".")(text) == parsed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("12,50", "expected a number like 1,234.56"),
        ("1.23456", "more than 4 decimals"),
        ("123456789012345", "too large"),
        ("", "no amount"),
        ("abc", "expected a number"),
        ("NaN", "expected a number"),
        ("1e5", "expected a number"),
        ("-", "expected a number"),
    ],
)
def test_text_that_is_no_amount_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadCell, match=reason):
        amount_parser(".")(text)


@pytest.mark.parametrize(
    ("values", "mark", "seen"),
    [
        (["1.234,56"], ",", True),
        (["1,234.56"], ".", True),
        (["12,50", "1,234"], ",", True),
        (["1.234.567"], ",", True),
        (["1,234"], ".", False),
    ],
)
def test_sample_decides_the_decimal_mark(values: list[str], mark: str, seen: bool) -> None:
    assert decide_decimal(values, otherwise=".") == (mark, seen)


def test_date_format_needs_year_month_and_day() -> None:
    assert find_date_format("%d/%m/%Y") == "dd/mm/yyyy"
    with pytest.raises(ValueError, match="such as dd/mm/yyyy"):
        find_date_format("yyyy")

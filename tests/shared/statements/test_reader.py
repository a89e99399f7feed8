"""How the rows of a file are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared.statements.tables import dates, read, table_of


def test_bad_byte_in_utf_8_costs_only_its_own_row(tmp_path: Path) -> None:
    good = "2026-01-02,5,Café\n".encode()
    table = table_of(
        tmp_path, b"date,amount,merchant\n" + good * 3 + b"2026-01-02,5,Caf\xe9\n" + good
    )

    rows = read(table)

    assert rows[3] == "merchant 'Caf\\udce9': not written in the file's encoding"
    assert [row["merchant"] for row in rows if isinstance(row, dict)] == ["Café"] * 4


def test_rows_of_another_width_are_refused_and_blank_rows_skipped(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, "date,amount,merchant\n2026-01-02,5\n\n\n2026-01-02,5,a,b\n2026-01-02,5,a,,\n"
    )
    assert [(row.line, row.error) for row in table.rows()] == [
        (2, "2 cells, expected 3"),
        (5, "4 cells, expected 3"),
        (6, None),
    ]


def test_unclosed_quote_costs_only_its_own_line(tmp_path: Path) -> None:
    good = "2026-01-02,5,fine\n"
    table = table_of(
        tmp_path, "date,amount,merchant\n" + good + '2026-01-02,5,"open\n' + good * 300
    )
    rows = list(table.rows())
    assert [row.line for row in rows if row.error] == [3]
    assert len(rows) == 302
    assert rows[-1].line == 303


@pytest.mark.parametrize(
    "below", ["2026-01-03,6,fine\n", '2026-01-03,6,"fine"\n2026-01-04,7,last\n']
)
def test_unclosed_quote_near_the_end_swallows_no_row(tmp_path: Path, below: str) -> None:
    table = table_of(tmp_path, 'date,amount,merchant\n2026-01-02,5,"open\n' + below)
    assert [row.error for row in table.rows()][1:] == [None] * below.count("\n")
    assert dates(table)[1:] == ["2026-01-03", "2026-01-04"][: below.count("\n")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('date,amount,merchant\n2026-01-02,5,"Shop\nA, B, C\nend"\n', "Shop\\nA, B, C\\nend"),
        ("date;amount;merchant\n2026-01-02;5;'a\n", "'a"),
        ('date;merchant;amount;\n2026-01-02;"a\n2026-01-01";5,00;;\n', "a\\n2026-01-01"),
    ],
    ids=["commas", "no quote", "a date, and cells behind the last"],
)
def test_cell_of_several_lines_stays_one_cell(tmp_path: Path, content: str, text: str) -> None:
    (row,) = read(table_of(tmp_path, content))
    assert isinstance(row, dict)
    assert row["merchant"] == text


def test_row_with_an_oversized_cell_is_the_only_one_refused(tmp_path: Path) -> None:
    big = "2026-01-02,5," + "x" * (1 << 21) + "\n"
    table = table_of(tmp_path, "date,amount,merchant\n2026-01-02,5,a\n" + big + "2026-01-03,5,b\n")
    assert [row.error for row in table.rows()] == [
        None,
        "a cell has more than 1,048,576 characters",
        None,
    ]

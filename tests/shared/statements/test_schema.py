"""How rows become lines for COPY."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared.statements.tables import BANK, read, table_of


@pytest.mark.parametrize(
    "content",
    [
        BANK,
        "txn_id,date,time,amount,merchant,label\n"
        "a\\b,2026-01-02,10:11,5,x\ty,\nc,2026-01-02,,-6, z ,L\n",
        "Date,Name,Debit,Credit,Currency\n2026-01-02,,5,,eur\n2026-01-03,Zoé\u00a0A,,6,\n",
    ],
    ids=["bank", "special characters", "two columns"],
)
def test_many_rows_at_once_equal_the_same_rows_one_by_one(tmp_path: Path, content: str) -> None:
    table = table_of(tmp_path, content)
    rows = list(table.rows())
    assert table.schema.lines([row.line for row in rows], [row.cells for row in rows]) == "".join(
        f"{row.line}\t{table.schema.line(row.cells)}" for row in rows
    )


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x" * 1001, "merchant has 1,001 characters"),
        ("a\0b", "merchant holds a NUL character"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(tmp_path: Path, cell: str, reason: str) -> None:
    (row,) = read(table_of(tmp_path, f"date,amount,merchant\n2026-01-02,5,{cell}\n"))
    assert isinstance(row, str)
    assert reason in row


def test_label_that_is_too_long_is_refused(tmp_path: Path) -> None:
    content = f"date,amount,label,merchant\n2026-01-02,5,{'x' * 81},m\n2026-01-02,5, a ,m\n"
    rows = read(table_of(tmp_path, content))
    assert rows[0] == "label has 81 characters, at most 80 are taken"
    assert isinstance(rows[1], dict)
    assert rows[1]["label"] == "a"

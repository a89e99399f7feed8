"""How the layout of a CSV file is found, and which files are refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from shared.errors import InvalidInput, NotATable
from shared.statements.reader import open_statement
from shared.statements.schema import ImportOptions
from tests.shared.statements.tables import BANK, read, table_of


@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("latin-1", "cp1252"),
        ("cp1252", "cp1252"),
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
    ],
)
def test_unprepared_export_is_read_in_every_encoding(
    tmp_path: Path, encoding: str, found: str
) -> None:
    table = table_of(tmp_path, BANK.encode(encoding))

    first, second, third = read(table)

    assert (table.layout.encoding, table.layout.delimiter, table.layout.header_line) == (
        found,
        ";",
        4,
    )
    assert first == {
        "date": "2026-01-13",
        "hour_of_day": "\\N",
        "amount": "-1234.56",
        "merchant": "Café Müller",
        "description": "Karte 12\\nzweite Zeile; mit Strichpunkt",
        "label": "Restaurant",
        "currency": "EUR",
    }
    assert isinstance(second, dict)
    assert isinstance(third, dict)
    assert (second["amount"], third["amount"]) == ("-12.50", "2500.00")
    assert [row.line for row in table.rows()] == [5, 7, 8]


def test_byte_order_mark_above_latin_1_does_not_decide_the_encoding(tmp_path: Path) -> None:
    """Some banks put UTF-8's mark above a file that is not UTF-8."""
    table = table_of(tmp_path, b"\xef\xbb\xbf" + BANK.encode("latin-1"))

    first = read(table)[0]

    assert table.layout.encoding == "cp1252"
    assert isinstance(first, dict)
    assert (first["merchant"], first["amount"]) == ("Café Müller", "-1234.56")


def test_latin_letters_far_below_the_head_decide_the_encoding(tmp_path: Path) -> None:
    head = "date,amount,merchant\n" + "2026-01-02,1.50,plain\n" * 20_000
    table = table_of(tmp_path, head.encode() + "2026-01-03,2.50,Café\n".encode("latin-1"))

    last = read(table)[-1]

    assert isinstance(last, dict)
    assert last["merchant"] == "Café"


@pytest.mark.parametrize(
    ("delimiter", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")]
)
def test_each_delimiter_is_detected(tmp_path: Path, delimiter: str, name: str) -> None:
    table = table_of(
        tmp_path, f"Date{delimiter}Montant{delimiter}Tiers\n2026-01-02{delimiter}5{delimiter}x\n"
    )
    assert f"delimiter: {name}" in table.detected
    assert len(read(table)) == 1


NO_TABLES = {
    "empty": (b"", "is empty"),
    "blank": (b" \n\n", "is empty"),
    "empty gz": (gzip.compress(b""), "is empty"),
    "damaged gz": (gzip.compress(b"date,amount\n" * 999)[:40], "is damaged"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(500), "a JPEG image"),
    "binary": (bytes(range(256)) * 20, "binary data"),
    "workbook": (b"PK\x03\x04abc", "an Excel workbook"),
    "json": (b'[{"date": "2026-01-02", "amount": 1}]', "a JSON document"),
    "html": (b"<!DOCTYPE html><html>date,amount</html>", "an HTML or XML document"),
    "one column": (b"hello\nworld\n", "one column only"),
    "no date": (b"a,b,amount\n1,2,3\n", "no date column among 'a', 'b', 'amount'"),
    "no amount": (b"date,b\n2026-01-02,2\n", "no amount column among 'date', 'b'"),
    "no text": (b"date,value\n2026-01-02,2\n", "no merchant column among 'date', 'value'"),
    "dates that are none": (b"date,amount,name\nfoo,1,a\n", "column 'date' holds no dates"),
    "amounts that are none": (b"date,amount,name\n2026-01-02,x,a\n", "'amount' holds no amounts"),
}


@pytest.mark.parametrize("kind", NO_TABLES)
def test_file_without_a_table_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    content, said = NO_TABLES[kind]
    with pytest.raises(NotATable) as refused:
        table_of(tmp_path, content)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_file_is_invalid_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        open_statement(tmp_path / "none.csv", ImportOptions())

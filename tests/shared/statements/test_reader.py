"""What is found out about a file before it is imported, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from shared.errors import InvalidInput, NotATable
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import Table, open_statement
from shared.statements.schema import ImportOptions

BANK = """Kontoauszug;DE12 3456
Zeitraum: 01.01.2026 - 31.01.2026;

Buchungstag;Auftraggeber / Empfänger;Verwendungszweck;Betrag (EUR);Kategorie
13/01/2026;Café Müller;"Karte 12
zweite Zeile; mit Strichpunkt";-1.234,56;Restaurant
14/01/2026;REWE;Einkauf;-12,50;Lebensmittel
15/01/2026;Arbeit GmbH;Gehalt;2.500,00;Einkommen
"""


def table_of(tmp_path: Path, content: str | bytes, **options: object) -> Table:
    """The file understood; a file that is only about dates and amounts need not name a shop."""
    if isinstance(content, str) and content.lower().startswith(("date,amount", "date;amount")):
        options.setdefault("columns", {} if "merchant" in content else {"merchant": ""})
    path = tmp_path / "bank.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_statement(path, ImportOptions(**options))  # type: ignore[arg-type]


def read(table: Table) -> list[dict[str, str] | str]:
    """Every row by column name, or the reason it is refused for."""
    out: list[dict[str, str] | str] = []
    for row in table.rows():
        try:
            values = table.schema.line(row.cells).rstrip("\n").split("\t") if not row.error else []
        except BadCell as error:
            out.append(str(error))
        else:
            out.append(row.error or dict(zip(table.schema.columns, values, strict=True)))
    return out


def amounts(table: Table) -> list[str]:
    return [row if isinstance(row, str) else row["amount"] for row in read(table)]


def dates(table: Table) -> list[str]:
    return [row if isinstance(row, str) else row["date"] for row in read(table)]


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
def test_an_unprepared_export_is_understood_in_every_encoding(
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


def test_a_byte_order_mark_above_latin_letters_misleads_nobody(tmp_path: Path) -> None:
    """Some banks put UTF-8's mark above a file that is not UTF-8."""
    table = table_of(tmp_path, b"\xef\xbb\xbf" + BANK.encode("latin-1"))

    first = read(table)[0]

    assert table.layout.encoding == "cp1252"
    assert isinstance(first, dict)
    assert (first["merchant"], first["amount"]) == ("Café Müller", "-1234.56")


def test_a_bad_byte_in_utf_8_costs_its_own_row_only(tmp_path: Path) -> None:
    good = "2026-01-02,5,Café\n".encode()
    table = table_of(
        tmp_path, b"date,amount,merchant\n" + good * 3 + b"2026-01-02,5,Caf\xe9\n" + good
    )

    rows = read(table)

    assert rows[3] == "merchant 'Caf\\udce9': not written in the file's encoding"
    assert [row["merchant"] for row in rows if isinstance(row, dict)] == ["Café"] * 4


def test_latin_letters_far_below_the_first_look_still_decide_the_encoding(tmp_path: Path) -> None:
    head = "date,amount,merchant\n" + "2026-01-02,1.50,plain\n" * 20_000
    table = table_of(tmp_path, head.encode() + "2026-01-03,2.50,Café\n".encode("latin-1"))

    last = read(table)[-1]

    assert isinstance(last, dict)
    assert last["merchant"] == "Café"


@pytest.mark.parametrize(
    ("delimiter", "name"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "bar")]
)
def test_each_delimiter_is_found(tmp_path: Path, delimiter: str, name: str) -> None:
    table = table_of(
        tmp_path, f"Date{delimiter}Montant{delimiter}Tiers\n2026-01-02{delimiter}5{delimiter}x\n"
    )
    assert f"delimiter: {name}" in table.detected
    assert len(read(table)) == 1


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("Transaction Date,Description,Amount,Category", "date description amount label"),
        ("Date,Libellé,Débit,Crédit,Catégorie", "date description debit credit label"),
        ("Buchungstag,Zahlungsempfänger,Betrag,Währung", "date merchant amount currency"),
        ("Fecha,Concepto,Importe,Divisa", "date description amount currency"),
        ("Data operazione,Descrizione,Importo,Valuta", "date description amount currency"),
        ("Data,Descrição,Valor,Conta", "date description amount account"),
        ("Datum,Omschrijving,Bedrag,Tegenpartij", "date description amount merchant"),
    ],
)
def test_column_names_of_seven_languages(tmp_path: Path, header: str, fields: str) -> None:
    columns = table_of(tmp_path, header + "\n").detected[3]
    assert {part.split(" = ")[0] for part in columns[9:].split(", ")} == set(fields.split())


def test_where_nothing_tells_day_from_month_it_is_assumed_and_said(tmp_path: Path) -> None:
    american = table_of(tmp_path, "date,amount,currency\n01/02/2026,5.00,USD\n")
    assert dates(american) == ["2026-01-02"]
    assert any("mm/dd/yyyy (assumed" in fact for fact in american.detected)

    other = table_of(tmp_path, "date,amount,currency\n01/02/2026,5.00,EUR\n")
    assert dates(other) == ["2026-02-01"]

    told = table_of(tmp_path, "date,amount\n01/02/2026,5.00\n", date_format="mm/dd/yyyy")
    assert dates(told) == ["2026-01-02"]


def test_a_date_against_the_sample_is_refused_not_guessed(tmp_path: Path) -> None:
    table = table_of(tmp_path, "date;amount\n13/05/2026;5\n14/05/2026;5\n2024-13-05;5\n;5\n")
    assert dates(table)[2:] == ["date '2024-13-05': expected dd/mm/yyyy", "no date"]


def test_midnight_everywhere_is_no_time_of_day(tmp_path: Path) -> None:
    table = table_of(tmp_path, "date,amount\n2026-01-02T00:00:00,5\n2026-01-03T00:00:00,5\n")
    assert [row["hour_of_day"] for row in read(table) if isinstance(row, dict)] == ["\\N"] * 2


def test_the_sign_is_found_and_its_reason_said(tmp_path: Path) -> None:
    spend = table_of(tmp_path, "date,amount\n2026-01-02,5.00\n2026-01-03,6\n2026-01-04,-7\n")
    assert amounts(spend) == ["-5.00", "-6", "7"]
    assert any("spend-positive (2 of the first 3" in fact for fact in spend.detected)

    signed = table_of(tmp_path, "date,amount\n2026-01-02,-5\n2026-01-03,-6\n2026-01-04,7\n")
    assert amounts(signed) == ["-5", "-6", "7"]
    assert any("spend-negative (2 of the first 3" in fact for fact in signed.detected)

    told = table_of(tmp_path, "date,amount\n2026-01-02,5\n", sign="spend-negative")
    assert amounts(told) == ["5"]


def test_income_that_is_labelled_or_has_a_plus_does_not_sway_the_sign(tmp_path: Path) -> None:
    head = "date,amount,merchant,label\n2026-01-02,900,a,Salary\n2026-01-02,9,b,Income\n"
    assert amounts(table_of(tmp_path, head + "2026-01-02,-5,c,Food\n")) == ["900", "9", "-5"]

    plus = table_of(tmp_path, 'date;amount\n02.01.2026;"+5,00"\n02.01.2026;+6,00\n02.01.2026;-7\n')
    assert amounts(plus) == ["5.00", "6.00", "-7"]
    assert any("written with a plus" in fact for fact in plus.detected)


def test_a_type_column_tells_the_sign(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, "date,amount,type\n2026-01-02,5,debit\n2026-01-03,6,Credit\n2026-01-04,-7,DEBIT\n"
    )
    assert amounts(table) == ["-5", "6", "-7"]


def test_debit_and_credit_columns(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        "Date,Description,Debit,Credit\n2026-01-02,a,12.50,\n2026-01-02,b,,\"1,000.00\"\n"
        "2026-01-02,c,0.00,5\n2026-01-02,d,,\n2026-01-02,e,1,2\n",
    )  # fmt: skip
    assert amounts(table) == ["-12.50", "1000.00", "5", "no amount", "both a debit and a credit"]

    french = table_of(
        tmp_path, "Date;Débit;Crédit;Tiers\n2026-01-02;-12,50;;a\n2026-01-02;;3,00;b\n"
    )
    assert amounts(french) == ["-12.50", "3.00"]


def test_card_statements_that_mark_credits_only(tmp_path: Path) -> None:
    table = table_of(tmp_path, "date,amount\n2026-01-02,12.50\n2026-01-03,3.00 CR\n")
    assert amounts(table) == ["-12.50", "3.00"]


def test_rows_of_another_width_are_refused_and_blank_ones_passed_over(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, "date,amount,merchant\n2026-01-02,5\n\n\n2026-01-02,5,a,b\n2026-01-02,5,a,,\n"
    )
    assert [(row.line, row.error) for row in table.rows()] == [
        (2, "2 cells, expected 3"),
        (5, "4 cells, expected 3"),
        (6, None),
    ]


def test_a_quote_that_is_never_closed_costs_its_own_line_only(tmp_path: Path) -> None:
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
def test_an_open_quote_near_the_end_swallows_no_row(tmp_path: Path, below: str) -> None:
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
def test_a_cell_of_several_lines_stays_one_cell(tmp_path: Path, content: str, text: str) -> None:
    (row,) = read(table_of(tmp_path, content))
    assert isinstance(row, dict)
    assert row["merchant"] == text


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
def test_many_rows_at_once_are_the_same_as_one_by_one(tmp_path: Path, content: str) -> None:
    table = table_of(tmp_path, content)
    rows = list(table.rows())
    assert table.schema.lines([row.line for row in rows], [row.cells for row in rows]) == "".join(
        f"{row.line}\t{table.schema.line(row.cells)}" for row in rows
    )


def test_ids_are_used_only_if_they_are_ids(tmp_path: Path) -> None:
    def ids(content: str, **options: object) -> bool:
        return "external_id" in table_of(tmp_path, content, **options).schema.columns

    assert ids("txn_id,date,amount,merchant\na,2026-01-02,5,x\nb,2026-01-02,5,x\n")
    assert not ids("txn_id,date,amount,merchant\na,2026-01-02,5,x\n" + ",2026-01-02,5,x\n" * 2)
    assert ids("id,date,amount,merchant\n77,2026-01-02,5,x\n93,2026-01-02,5,x\n")
    # The next file's rows would be 1 and 2 as well.
    assert not ids("id,date,amount,merchant\n1,2026-01-02,5,x\n2,2026-01-02,5,x\n")
    # What one bank calls a reference is unique, another's is a text.
    references = "date,amount,merchant,reference\n2026-01-02,5,x,a\n2026-01-02,5,x,b\n"
    assert not ids(references)
    assert ids(references, columns={"id": "reference"})


def test_a_row_without_the_id_the_others_have_is_refused(tmp_path: Path) -> None:
    content = "txn_id,date,amount,merchant\na,2026-01-02,5,x\n,2026-01-02,5,x\n"
    assert read(table_of(tmp_path, content))[1] == "no txn_id"


def test_columns_can_be_named(tmp_path: Path) -> None:
    content = "when,how much,Rubrik X,shop\n2026-01-02,5,Food,a\n"
    with pytest.raises(NotATable, match="no date column among 'when'"):
        table_of(tmp_path, content)
    columns = {"date": "when", "amount": "How Much", "label": "Rubrik X", "merchant": "shop"}
    (row,) = read(table_of(tmp_path, content, columns=columns))
    assert isinstance(row, dict)
    assert row["label"] == "Food"
    with pytest.raises(InvalidInput, match="--map label=Nope: there is no such column"):
        table_of(tmp_path, content, columns={**columns, "label": "Nope"})
    with pytest.raises(InvalidInput, match="--map colour="):
        table_of(tmp_path, content, columns={"colour": "when"})


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("x" * 1001, "merchant has 1,001 characters"),
        ("a\0b", "merchant holds a NUL character"),
    ],
)
def test_texts_that_cannot_be_stored_are_refused(tmp_path: Path, cell: str, reason: str) -> None:
    (row,) = read(table_of(tmp_path, f"date,amount,merchant\n2026-01-02,5,{cell}\n"))
    assert isinstance(row, str)
    assert reason in row


def test_a_label_that_is_too_long_is_refused(tmp_path: Path) -> None:
    content = f"date,amount,label,merchant\n2026-01-02,5,{'x' * 81},m\n2026-01-02,5, a ,m\n"
    rows = read(table_of(tmp_path, content))
    assert rows[0] == "label has 81 characters, at most 80 are taken"
    assert isinstance(rows[1], dict)
    assert rows[1]["label"] == "a"


def test_a_cell_beyond_any_measure_is_refused_alone(tmp_path: Path) -> None:
    big = "2026-01-02,5," + "x" * (1 << 21) + "\n"
    table = table_of(tmp_path, "date,amount,merchant\n2026-01-02,5,a\n" + big + "2026-01-03,5,b\n")
    assert [row.error for row in table.rows()] == [
        None,
        "a cell has more than 1,048,576 characters",
        None,
    ]


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
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    content, said = NO_TABLES[kind]
    with pytest.raises(NotATable) as refused:
        table_of(tmp_path, content)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        open_statement(tmp_path / "none.csv", ImportOptions())

"""The annotated copy of a statement, and the corrections that are read from it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from shared.errors import InvalidInput, NotATable
from shared.services import Services
from shared.statements.schema import ImportOptions
from tests.support.api import deploy_a_model
from worker.statements.annotate import Report, annotate_statement, default_path
from worker.statements.importer import import_csv

BANK = """Date,Text,Amount,Kind
2026-01-02,BEAN HOUSE #12,-4.20,
2026-01-03,ODD SHOP,-9.99,
2026-01-03,ODD SHOP,-9.99,
2026-01-04,ODD SHOP,-19.99,
2026-01-05,HOMESTEAD LETTINGS,-1200.00,Home
bad,ODD SHOP,-1.00,
2026-01-06,=HYPERLINK("http://x"),-2.00,
"""
NAMED = ImportOptions(columns={"label": "Kind", "description": "Text"})


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "bank.csv"
    path.write_text(BANK)
    return path


def run(services: Services, bank: Path, **more: Any) -> Report:
    return annotate_statement(services, bank, options=NAMED, **more)


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


def edit(path: Path, index: int, **cells: str) -> None:
    """Change cells of a row as a user does, and save as a German spreadsheet does."""
    table = rows(path)
    table[index].update(cells)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(table[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(reversed(table))


def stored(services: Services) -> list[Any]:
    with services.engine.connect() as connection:
        return [
            connection.execute(text(f"SELECT t::text FROM {table} AS t ORDER BY 1")).all()
            for table in ("transactions", "transaction_labels", "suggestions", "ml_features")
        ]


def test_copy_has_every_row_unchanged_with_an_annotation(services: Services, bank: Path) -> None:
    report = run(services, bank)

    given = [line.split(",") for line in BANK.splitlines()[1:7]]
    back = rows(default_path(bank))
    assert [[row[name] for name in ("Date", "Text", "Amount", "Kind")] for row in back[:6]] == given
    assert bank.read_text() == BANK
    assert list(back[0])[4:] == [
        "category", "confidence", "source", "reason", "your_category", "ledger_ref",
    ]  # fmt: skip
    assert [row["source"] for row in back[1:3]] == ["none", "none"]
    labelled = back[4]
    assert [labelled[name] for name in ("category", "confidence", "source", "reason")] == [
        "Home", "1.00", "import", "your label",
    ]  # fmt: skip
    assert back[5]["category"] == ""
    assert back[5]["reason"].startswith("not imported: date 'bad'")
    assert report.rows == 7
    assert report.kinds["labelled"] == report.kinds["rejected"] == 1
    assert [(reject.line, reject.reason) for reject in report.imported.rejects] == [
        (7, "date 'bad': expected yyyy-mm-dd")
    ]


def test_live_model_suggests_whatever_the_canary(services: Services, bank: Path) -> None:
    version = deploy_a_model(services.engine, services.registry)

    report = annotate_statement(services, bank, options=replace(NAMED, user="anna"))

    first = rows(default_path(bank))[0]
    assert (first["category"], first["source"]) == ("Coffee", "model")
    assert report.model == version


def test_correction_is_learned_for_its_merchant(services: Services, bank: Path) -> None:
    run(services, bank)
    edit(default_path(bank), 1, your_category="Gifts")

    report = run(services, bank)

    back = rows(default_path(bank))
    assert report.corrections == 1
    assert [row["category"] for row in back[1:4]] == ["Gifts"] * 3
    assert [row["source"] for row in back[1:4]] == ["you", "own memory", "own memory"]
    assert (back[1]["your_category"], back[2]["your_category"]) == ("Gifts", "")
    with services.engine.connect() as connection:
        labels = connection.execute(text("SELECT label, source FROM transaction_labels ORDER BY 1"))
        assert labels.all() == [("Gifts", "human"), ("Home", "import")]


def test_overwritten_category_is_a_correction(services: Services, bank: Path) -> None:
    run(services, bank)
    edit(default_path(bank), 4, category="Rent")  # over the file's own label

    assert run(services, bank).corrections == 1
    assert run(services, bank).corrections == 0
    row = rows(default_path(bank))[4]
    assert (row["category"], row["source"], row["Kind"]) == ("Rent", "you", "Home")


def test_unchanged_suggestion_never_becomes_a_label(services: Services, bank: Path) -> None:
    deploy_a_model(services.engine, services.registry)
    run(services, bank)
    before = stored(services)
    copy = default_path(bank).read_bytes()

    run(services, bank)

    assert stored(services) == before
    assert default_path(bank).read_bytes() == copy


def test_copy_cannot_be_imported(services: Services, bank: Path) -> None:
    run(services, bank)
    with pytest.raises(NotATable, match="a copy with suggestions"):
        import_csv(services.engine, default_path(bank))
    with pytest.raises(NotATable, match="a copy with suggestions"):
        annotate_statement(services, default_path(bank))


def test_copy_with_an_unreadable_correction_is_kept_as_backup(
    services: Services, bank: Path
) -> None:
    run(services, bank)
    edit(default_path(bank), 1, your_category="Gifts", ledger_ref="")

    report = run(services, bank)

    assert report.backup is not None
    assert "Gifts" in report.backup.read_text()
    assert [lost.reason for lost in report.lost] == ["ledger_ref is empty or changed"]


def test_file_that_is_no_copy_is_not_overwritten(services: Services, bank: Path) -> None:
    default_path(bank).write_text("my notes\n")
    with pytest.raises(InvalidInput, match="cannot be read back"):
        run(services, bank)
    assert default_path(bank).read_text() == "my notes\n"
    with pytest.raises(InvalidInput, match="the bank's own file"):
        run(services, bank, out=bank)
    assert stored(services)[0] == []


def test_column_of_the_file_keeps_its_name(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    path.write_text("date,merchant,amount,category\n2026-01-02,ODD SHOP,-1,\n")
    annotate_statement(services, path)
    edit(default_path(path), 0, ledger_category="Gifts")

    annotate_statement(services, path)

    row = rows(default_path(path))[0]
    assert (row["category"], row["ledger_category"]) == ("", "Gifts")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig"])
def test_copy_keeps_delimiter_and_accents(
    services: Services, tmp_path: Path, encoding: str
) -> None:
    path = tmp_path / "banque.csv"
    path.write_bytes("Date;Libellé;Montant\n13/01/2026;Café;-4,20\nTotal;;-4,20\n".encode(encoding))

    report = annotate_statement(services, path)

    data = default_path(path).read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")
    assert rows(default_path(path), ";")[0]["Libellé"] == "Café"
    assert "13/01/2026;Café;-4,20;" in data.decode("utf-8-sig")
    assert report.kinds["left out"] == 1


def test_empty_table_gives_an_empty_copy(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    path.write_text("date,merchant,amount\n")
    assert annotate_statement(services, path).rows == 0
    assert rows(default_path(path)) == []


def test_category_like_a_formula_is_read_back_unchanged(services: Services, bank: Path) -> None:
    run(services, bank)
    edit(default_path(bank), 1, your_category="'=Gifts")
    run(services, bank)
    assert rows(default_path(bank))[1]["category"] == "'=Gifts"
    assert rows(default_path(bank))[6]["Text"].startswith("'=HYPERLINK")
    assert run(services, bank).corrections == 0

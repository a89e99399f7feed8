"""The import of a statement into PostgreSQL: stored rows, repeated imports, failures."""

from __future__ import annotations

import csv
import gzip
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from shared.errors import InvalidInput, NotATable
from shared.statements.rejects import Reject
from shared.statements.schema import ImportOptions
from worker.statements.importer import ImportReport, import_csv

pytestmark = pytest.mark.usefixtures("clean")

HEADER = "txn_id,date,amount,currency,merchant,description,label\n"
CANONICAL = (
    HEADER
    + "a-1,2026-01-02,11.11,USD,Bean House,morning coffee,Coffee\n"
    + 'a-2,2026-01-03,1247.44,USD,"Homestead, Lettings",,Rent\n'
    + "a-3,2026-01-04,-20.00,USD,Fresh Mart,refund,\n"
)
BANK = """Relevé de compte;FR76 1234
Période du 01/01/2026 au 31/01/2026;

Date;Libellé;Montant;Catégorie
13/01/2026;"Café de la Gare
Carte 1234";-4,20;Café
13/01/2026;"Café de la Gare
Carte 1234";-4,20;Café
14/01/2026;Épicerie Zoé;-1.234,56;Courses
15/01/2026;Employeur SA;2.500,00;Salaire
Total;;1.257,04;
"""


def written(tmp_path: Path, content: str | bytes, name: str = "bank.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def counts_of(report: ImportReport) -> tuple[int, int, int, int]:
    return report.inserted, report.updated, report.unchanged, report.rejected


def labels(report: ImportReport) -> tuple[int, int, int, int]:
    return (
        report.labels_inserted,
        report.labels_updated,
        report.labels_unchanged,
        report.labels_kept,
    )


def test_canonical_file_needs_no_options(engine: Engine, tmp_path: Path) -> None:
    report = import_csv(engine, written(tmp_path, CANONICAL))

    assert report.read == 3
    assert counts_of(report) == (3, 0, 0, 0)
    assert labels(report) == (2, 0, 0, 0)
    assert report.rejects_path is None
    assert rows(
        engine,
        "SELECT external_id, date::text, amount, currency, merchant, description "
        "FROM transactions ORDER BY id",
    ) == [
        ("a-1", "2026-01-02", Decimal("-11.11"), "USD", "Bean House", "morning coffee"),
        ("a-2", "2026-01-03", Decimal("-1247.44"), "USD", "Homestead, Lettings", None),
        ("a-3", "2026-01-04", Decimal("20.00"), "USD", "Fresh Mart", "refund"),
    ]
    assert rows(engine, "SELECT label, source FROM transaction_labels ORDER BY txn_id") == [
        ("Coffee", "import"),
        ("Rent", "import"),
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig"])
def test_unprepared_bank_export_needs_no_options(
    engine: Engine, tmp_path: Path, encoding: str
) -> None:
    report = import_csv(engine, written(tmp_path, BANK.encode(encoding)))

    assert counts_of(report) == (4, 0, 0, 0)
    assert report.skipped == 1
    assert rows(engine, "SELECT date::text, amount, description FROM transactions ORDER BY id") == [
        ("2026-01-13", Decimal("-4.20"), "Café de la Gare\nCarte 1234"),
        ("2026-01-13", Decimal("-4.20"), "Café de la Gare\nCarte 1234"),
        ("2026-01-14", Decimal("-1234.56"), "Épicerie Zoé"),
        ("2026-01-15", Decimal("2500.00"), "Employeur SA"),
    ]


@pytest.mark.parametrize("content", [CANONICAL, BANK], ids=["ids", "no ids"])
def test_repeated_import_changes_nothing(engine: Engine, tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    first = import_csv(engine, path)
    whole = "SELECT t, l FROM transactions t LEFT JOIN transaction_labels l ON txn_id = id"
    before = sorted(map(str, rows(engine, whole)))

    again = import_csv(engine, path)

    assert counts_of(again) == (0, 0, first.inserted, 0)
    assert labels(again) == (0, 0, first.labels_inserted, 0)
    assert sorted(map(str, rows(engine, whole))) == before


def test_overlapping_file_adds_only_new_rows(engine: Engine, tmp_path: Path) -> None:
    import_csv(engine, written(tmp_path, BANK))
    later = BANK.replace("Total", "16/01/2026;Employeur SA;1,00;Salaire\nTotal")
    later = later.replace("14/01/2026;Épicerie Zoé;-1.234,56;Courses\n", "")

    report = import_csv(engine, written(tmp_path, later))

    assert counts_of(report) == (1, 0, 3, 0)
    assert rows(engine, "SELECT count(*) FROM transactions") == [(5,)]


def test_equal_rows_are_stored_as_often_as_in_the_file(engine: Engine, tmp_path: Path) -> None:
    head, coffee = "date;amount;merchant\n", "13/01/2026;-4,20;Bean House\n"

    assert import_csv(engine, written(tmp_path, head + coffee * 2)).inserted == 2
    assert counts_of(import_csv(engine, written(tmp_path, head + coffee))) == (0, 0, 1, 0)
    assert counts_of(import_csv(engine, written(tmp_path, head + coffee * 3))) == (1, 0, 2, 0)
    # The same transaction, written differently.
    same = "date,amount,merchant\n2026-01-13,-4.2,Bean House\n"
    assert counts_of(import_csv(engine, written(tmp_path, same))) == (0, 0, 1, 0)


def test_changed_row_is_updated_only_in_the_columns_of_the_file(
    engine: Engine, tmp_path: Path
) -> None:
    import_csv(engine, written(tmp_path, CANONICAL))

    changed = (
        "txn_id,date,amount,description,label\n"
        "a-1,2026-01-02,12.50,morning coffee,Treats\na-2,2026-01-03,1247.44,,Rent\n"
    )
    report = import_csv(engine, written(tmp_path, changed))

    assert counts_of(report) == (0, 1, 1, 0)
    assert labels(report) == (0, 1, 1, 0)
    assert rows(engine, "SELECT amount, merchant FROM transactions WHERE external_id = 'a-1'") == [
        (Decimal("-12.50"), "Bean House")
    ]


def test_debit_and_credit_become_signed_amounts(engine: Engine, tmp_path: Path) -> None:
    content = "Date,Description,Debit,Credit\n2026-01-02,shop,12.50,\n2026-01-03,pay,,900.00\n"
    import_csv(engine, written(tmp_path, content))
    assert rows(engine, "SELECT amount FROM transactions ORDER BY date") == [
        (Decimal("-12.50"),),
        (Decimal("900.00"),),
    ]


def test_bad_rows_are_rejected_with_line_and_reason_and_do_not_stop_the_rest(
    engine: Engine, tmp_path: Path
) -> None:
    content = (
        CANONICAL
        + "a-4,13/01/2026,1,USD,x,,\n"
        + "a-5,2026-01-05,1.23456,USD,x,,\n"
        + "a-6,2026-01-05\n"
        + f"a-7,2026-01-05,1,USD,x,,{'l' * 81}\n"
        + "a-1,2026-01-02,11.11,USD,Bean House,morning coffee,Coffee\n"
        + ",2026-01-05,1,USD,x,,\n"
        + ",,,,,,\n"
        + "a-8,2026-01-05,1,USD,x,,\n"
    )

    report = import_csv(engine, written(tmp_path, content))

    assert counts_of(report) == (4, 0, 0, 6)
    assert report.read == 10
    assert report.rejects == (
        Reject(5, "date '13/01/2026': expected yyyy-mm-dd"),
        Reject(6, "amount '1.23456': more than 4 decimals"),
        Reject(7, "2 cells, expected 7"),
        Reject(8, "label has 81 characters, at most 80 are taken"),
        Reject(9, "duplicate id, first on line 2"),
        Reject(10, "no txn_id"),
    )
    assert report.rejects_path == tmp_path / "bank.rejects.csv"
    with report.rejects_path.open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["line", "reason", *HEADER.strip().split(",")]
    assert ["7", "2 cells, expected 7", "a-6", "2026-01-05"] in table
    assert ["9", "duplicate id, first on line 2", *CANONICAL.splitlines()[1].split(",")] in table


def test_file_of_many_pieces_is_merged_as_one(engine: Engine, tmp_path: Path) -> None:
    """Ids that are new, stored, changed, repeated far apart or another user's, in one long file."""

    def lines(first: int, last: int, amount: str) -> str:
        return "".join(f"r-{n},2026-01-02,{amount},shop,L\n" for n in range(first, last))

    head = "txn_id,date,amount,merchant,label\n"
    anna, ben = ImportOptions(user="anna"), ImportOptions(user="ben")
    import_csv(engine, written(tmp_path, head + lines(30_000, 30_010, "5")), options=ben)
    import_csv(engine, written(tmp_path, head + lines(0, 1_000, "5")), options=anna)
    content = head + lines(45_000, 46_000, "5") + lines(0, 10, "7") + lines(10, 45_001, "5")

    report = import_csv(engine, written(tmp_path, content), options=anna)

    assert counts_of(report) == (45_000 - 10, 10, 990, 11)
    assert labels(report) == (45_000 - 10, 0, 1_000, 0)
    assert Reject(46_002, "duplicate id, first on line 2") in (
        Reject(int(line), reason) for line, reason, *_ in rejected(report)
    )
    assert counts_of(import_csv(engine, written(tmp_path, content), options=anna)) == (
        0,
        0,
        45_990,
        11,
    )


def rejected(report: ImportReport) -> list[list[str]]:
    assert report.rejects_path is not None
    with report.rejects_path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_import_does_not_change_another_users_transaction(engine: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, CANONICAL)
    import_csv(engine, path, options=ImportOptions(user="anna"))

    report = import_csv(engine, path, options=ImportOptions(user="ben"))

    assert counts_of(report) == (0, 0, 0, 3)
    assert report.rejects[0] == Reject(2, "this id belongs to another user")
    assert labels(report) == (0, 0, 0, 0)
    assert rows(engine, "SELECT DISTINCT user_id FROM transactions") == [("anna",)]


def test_two_users_may_have_equal_rows(engine: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, BANK)
    import_csv(engine, path, options=ImportOptions(user="anna"))
    assert counts_of(import_csv(engine, path, options=ImportOptions(user="ben"))) == (4, 0, 0, 0)


def test_human_label_is_not_replaced(engine: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, CANONICAL)
    import_csv(engine, path)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE transaction_labels SET label = 'Mine', source = 'human' WHERE txn_id = 1")
        )
        connection.execute(
            text("UPDATE transaction_labels SET label = 'Auto', source = 'rule' WHERE txn_id = 2")
        )

    assert labels(import_csv(engine, path)) == (0, 1, 0, 1)

    assert rows(engine, "SELECT label, source FROM transaction_labels ORDER BY txn_id") == [
        ("Mine", "human"),
        ("Rent", "import"),
    ]


def test_deleted_transaction_stays_deleted(engine: Engine, tmp_path: Path) -> None:
    path = written(tmp_path, CANONICAL)
    import_csv(engine, path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE transactions SET deleted_at = now() WHERE id = 1"))

    assert counts_of(import_csv(engine, path)) == (0, 0, 3, 0)

    assert rows(engine, "SELECT count(*) FROM transactions WHERE deleted_at IS NULL") == [(2,)]


def test_failure_in_the_middle_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    content = HEADER + "x,bad,1,USD,x,,\n" + "".join(
        f"a-{number},2026-01-02,5,USD,shop,,Coffee\n" for number in range(5_000)
    )  # fmt: skip

    def broken(read: int) -> None:
        if read > 2_000:
            raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        import_csv(engine, written(tmp_path, content), progress=broken)

    assert rows(engine, "SELECT count(*) FROM transactions") == [(0,)]
    assert [path.name for path in tmp_path.iterdir()] == ["bank.csv"]


def test_refused_file_leaves_no_file_of_rejects(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(NotATable):
        import_csv(engine, written(tmp_path, b"\xff\xd8\xff\xe0" * 200))
    assert [path.name for path in tmp_path.iterdir()] == ["bank.csv"]


def test_import_is_refused_if_rejects_cannot_be_written(engine: Engine, tmp_path: Path) -> None:
    options = ImportOptions(rejects=tmp_path / "none" / "rejects.csv")
    with pytest.raises(InvalidInput, match="name another place with --rejects"):
        import_csv(engine, written(tmp_path, CANONICAL + "a-9,bad,1,,,,\n"), options=options)
    assert rows(engine, "SELECT count(*) FROM transactions") == [(0,)]


def test_stream_is_imported_like_a_file(engine: Engine) -> None:
    stream = io.BytesIO(gzip.compress(CANONICAL.encode()))
    assert counts_of(import_csv(engine, stream)) == (3, 0, 0, 0)


def test_import_is_refused_if_the_path_of_the_rejects_is_a_folder(
    engine: Engine, tmp_path: Path
) -> None:
    options = ImportOptions(rejects=tmp_path)
    with pytest.raises(InvalidInput, match="it is a folder"):
        import_csv(engine, written(tmp_path, CANONICAL + "a-9,bad,1,,,,\n"), options=options)
    assert rows(engine, "SELECT count(*) FROM transactions") == [(0,)]

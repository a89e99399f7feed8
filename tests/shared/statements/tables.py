"""Small statements for the tests, and their parsed rows."""

from __future__ import annotations

from pathlib import Path

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
    """The opened file; one of dates and amounts only needs no merchant column."""
    if isinstance(content, str) and content.lower().startswith(("date,amount", "date;amount")):
        options.setdefault("columns", {} if "merchant" in content else {"merchant": ""})
    path = tmp_path / "bank.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_statement(path, ImportOptions(**options))  # type: ignore[arg-type]


def read(table: Table) -> list[dict[str, str] | str]:
    """Every row by column name, or the reason why it is refused."""
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

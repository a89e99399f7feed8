"""How column names are mapped to fields."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import InvalidInput, NotATable
from tests.shared.statements.tables import read, table_of


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
def test_names_of_seven_languages_are_mapped(tmp_path: Path, header: str, fields: str) -> None:
    columns = table_of(tmp_path, header + "\n").detected[3]
    assert {part.split(" = ")[0] for part in columns[9:].split(", ")} == set(fields.split())


def test_options_can_name_the_columns(tmp_path: Path) -> None:
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

"""A file looked at before it is imported: what it is taken for, and its first rows so read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from shared.db import copy_text
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import Row, Table

SAMPLE_SIZE = 20_000  # rows that are read to count those that cannot be taken
ROWS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class LookedRow:
    """A row as it would be stored, money out negative; or why it would not be."""

    line: int
    values: dict[str, str | None]
    error: str | None


@checked_dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Preview:
    """What the file is taken for; nothing was stored.

    `columns` says which column each field is read from; of the first `looked_at` rows, `rejected`
    would not be taken.
    """

    name: str
    header: list[str]
    columns: dict[str, str]
    detected: list[str]
    looked_at: int
    whole: bool
    rejected: int
    rows: list[LookedRow]
    rejects: list[LookedRow]


def preview(table: Table) -> Preview:
    """Read the first rows of a file as an import would.

    Raises:
        NotATable: the file is damaged.
    """
    looked_at = rejected = 0
    shown: list[LookedRow] = []
    rejects: list[LookedRow] = []
    rows = table.rows()
    for row in islice(rows, SAMPLE_SIZE):
        seen = _seen(table, row)
        if seen.error is not None and table.is_footer(row.cells):
            continue
        looked_at += 1
        if len(shown) < ROWS_SHOWN:
            shown.append(seen)
        if seen.error is not None:
            rejected += 1
            if len(rejects) < ROWS_SHOWN:
                rejects.append(seen)
    return Preview(
        name=table.path.name,
        header=table.header,
        columns={field: table.header[place] for field, place in table.places.items()},
        detected=list(table.detected),
        looked_at=looked_at,
        whole=next(rows, None) is None,
        rejected=rejected,
        rows=shown,
        rejects=rejects,
    )


def _seen(table: Table, row: Row) -> LookedRow:
    try:
        if row.error is not None:
            raise BadCell(row.error)
        line = table.schema.line(row.cells)
    except BadCell as error:
        cells: dict[str, str | None] = dict(zip(table.header, row.cells, strict=False))
        return LookedRow(row.line, cells, str(error))
    values = map(copy_text.decode, line.removesuffix("\n").split("\t"))
    return LookedRow(row.line, dict(zip(table.schema.columns, values, strict=True)), None)

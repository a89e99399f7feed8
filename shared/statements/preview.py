"""The preview of an import: the inferred layout and schema, and the first rows as parsed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from shared.db import copy_text
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import Row, Table

SAMPLE_ROWS = 20_000  # that are parsed to count the rejects among them
MAX_PREVIEW_ROWS = 20


@dataclass(frozen=True, slots=True)
class LookedRow:
    """A row as it would be stored, money out negative; or the reason why it would not be."""

    line: int
    values: dict[str, str | None]
    error: str | None


@checked_dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class StatementPreview:
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


def preview(table: Table) -> StatementPreview:
    """Parse the first rows of a file as an import would.

    Raises:
        NotATable: the file is damaged.
    """
    count = rejected = 0
    first: list[LookedRow] = []
    rejects: list[LookedRow] = []
    rows = table.rows()
    for row in islice(rows, SAMPLE_ROWS):
        parsed = _parse(table, row)
        if parsed.error is not None and table.is_footer(row.cells):
            continue
        count += 1
        if count <= MAX_PREVIEW_ROWS:
            first.append(parsed)
        if parsed.error is not None:
            rejected += 1
            if rejected <= MAX_PREVIEW_ROWS:
                rejects.append(parsed)
    positions = table.layout.positions
    return StatementPreview(
        name=table.path.name,
        header=table.header,
        columns={field: table.header[position] for field, position in positions.items()},
        detected=list(table.detected),
        looked_at=count,
        whole=next(rows, None) is None,
        rejected=rejected,
        rows=first,
        rejects=rejects,
    )


def _parse(table: Table, row: Row) -> LookedRow:
    try:
        if row.error is not None:
            raise BadCell(row.error)
        line = table.schema.line(row.cells)
    except BadCell as error:
        cells: dict[str, str | None] = dict(zip(table.header, row.cells, strict=False))
        return LookedRow(row.line, cells, str(error))
    values = map(copy_text.decode, line.removesuffix("\n").split("\t"))
    return LookedRow(row.line, dict(zip(table.schema.columns, values, strict=True)), None)

"""The annotated copy of a statement: its columns, how it is written, and how it is read back.

Each row of the copy has a reference: the transaction's id, and a digest of what was written as
`category` and `your_category`. By it a user's changes are found, wherever they moved the row and
whatever was suggested elsewhere since; a category that they left as it was is no correction.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TextIO

from shared.db.tables import LABEL_MAX
from shared.errors import InvalidInput, NotATable
from shared.statements.escaping import escape_formula, unescape_formula
from shared.statements.reader import Table, open_statement
from shared.statements.rejects import Reject
from shared.statements.schema import ImportOptions

REFERENCE = "ledger_ref"
COLUMNS = ("category", "confidence", "source", "reason", "your_category", REFERENCE)
_REF = re.compile(r"ref-([0-9a-f]{8})-([0-9a-f]{8})-(.+)", re.DOTALL)


class Annotation(NamedTuple):
    """The cells that the copy adds to a row."""

    category: str = ""
    confidence: str = ""
    source: str = ""
    reason: str = ""
    yours: str = ""
    external_id: str | None = None  # None: the row is no transaction


class UserLabel(NamedTuple):
    """A category that a user wrote into the copy."""

    external_id: str
    label: str
    is_new: bool  # changed since the copy was written


def output_columns(header: Sequence[str]) -> dict[str, str]:
    """The copy's own columns, each with a name that the file does not have."""
    taken = {name.casefold() for name in header}
    names = {}
    for column in COLUMNS:
        name = column
        while name in taken:
            name = "ledger_" + name
        names[column] = name
    return names


def is_copy(header: Sequence[str]) -> bool:
    return REFERENCE in header


class Rows:
    """Writes the rows of a copy into an open text file."""

    def __init__(self, file: TextIO, table: Table, *, mark: bool) -> None:
        """Write the header.

        Args:
            mark: begin with UTF-8's byte order mark.
        """
        if mark:
            file.write("\ufeff")
        self._writer = csv.writer(file, delimiter=table.layout.delimiter)
        self._width = len(table.header)
        self._writer.writerow(
            [*map(escape_formula, table.header), *output_columns(table.header).values()]
        )

    def add(self, cells: Sequence[str], ours: Annotation) -> None:
        """Write a row; cells beyond the header's columns come after ours."""
        row = [escape_formula(cell) for cell in cells]
        row[len(row) :] = [""] * (self._width - len(row))
        added = map(escape_formula, (*ours[:5], _reference(ours)))
        self._writer.writerow([*row[: self._width], *added, *row[self._width :]])


def needs_bom(table: Table) -> bool:
    """Whether UTF-8's byte order mark is needed: without it a spreadsheet on Windows assumes the
    file's encoding for the copy, too."""
    with table.path.open("rb") as file:
        return table.layout.encoding != "utf-8" or file.read(3) == b"\xef\xbb\xbf"


def open_copy(
    path: Path, header: Sequence[str], options: ImportOptions
) -> tuple[Table, dict[str, int]]:
    """An earlier copy, and the positions of the copy's own columns.

    Args:
        header: of the bank's file.
        options: for the bank's file; a spreadsheet may have saved the copy in another layout.

    Raises:
        NotATable: the file is no copy, and so must not be overwritten.
    """
    names = output_columns(header)
    try:
        table = open_statement(
            path, replace(options, delimiter=None, encoding=None, date_format=None)
        )
        return table, {column: table.header.index(names[column]) for column in COLUMNS}
    except (InvalidInput, ValueError) as error:
        why = str(error) if isinstance(error, InvalidInput) else "a column of it is missing"
        raise NotATable(
            f"{path} is there and cannot be read back as an earlier copy ({why}); move it away, "
            "or name another place with --out"
        ) from error


def read_corrections(
    path: Path, header: Sequence[str], options: ImportOptions
) -> Iterator[UserLabel | Reject]:
    """The categories that a user wrote into an earlier copy; see `open_copy`."""
    table, positions = open_copy(path, header, options)
    for line, cells, error in table.rows():
        if len(cells) <= max(positions.values()):
            continue  # the user's own notes below the table
        category, yours, reference = (
            unescape_formula(cells[positions[column]])
            for column in ("category", "your_category", REFERENCE)
        )
        match = _REF.fullmatch(reference)
        if match is None:
            if yours:
                yield Reject(line, error or f"{REFERENCE} is empty or changed")
            continue
        changed = match[1] != _digest(category), match[2] != _digest(yours)
        label = category if changed[0] and category and not (changed[1] and yours) else yours
        if len(label) > LABEL_MAX or not label.isprintable():
            yield Reject(line, f"a category has at most {LABEL_MAX} printable characters")
        elif label:
            yield UserLabel(match[3], label, any(changed))


def _reference(ours: Annotation) -> str:
    if ours.external_id is None:
        return ""
    category, yours = unescape_formula(ours.category), unescape_formula(ours.yours)
    return f"ref-{_digest(category)}-{_digest(yours)}-{ours.external_id}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]

"""The copy of a bank's file with a category for each row: its columns, its cells, the way back.

Each row of the copy has a reference: the transaction's id, and a digest of what was written as
`category` and `your_category`. By it a person's changes are found, wherever he moved the row and
whatever was suggested elsewhere since; nothing that he left as it was is taken for his word.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TextIO

from shared.db.tables import LABEL_MAX
from shared.errors import InvalidInput, NotATable
from shared.statements.escaping import escape_formula, unescape_formula
from shared.statements.reader import Table, open_statement
from shared.statements.schema import ImportOptions

REFERENCE = "ledger_ref"
COLUMNS = ("category", "confidence", "source", "reason", "your_category", REFERENCE)
_MARKER = "\ufeff"

_REF = re.compile(r"ref-([0-9a-f]{8})-([0-9a-f]{8})-(.+)", re.DOTALL)


class Annotation(NamedTuple):
    """What the copy adds to a row."""

    category: str = ""
    confidence: str = ""
    source: str = ""
    reason: str = ""
    yours: str = ""
    external_id: str | None = None  # None: the row is no transaction


class UserLabel(NamedTuple):
    """A category that a person wrote into the copy."""

    external_id: str
    label: str
    is_new: bool  # changed since the copy was written; else it stood there as his word already


class RejectedLabel(NamedTuple):
    """A category in the copy that cannot be taken."""

    line: int
    why: str


def output_columns(header: Sequence[str]) -> dict[str, str]:
    """Our columns, each with a name that the file does not have."""
    taken = {name.casefold() for name in header}
    names = {}
    for name in COLUMNS:
        free = name
        while free in taken:
            free = "ledger_" + free
        names[name] = free
    return names


def is_copy(header: Sequence[str]) -> bool:
    return REFERENCE in header


class Rows:
    """Writes the rows of a copy into a text file that is open."""

    def __init__(self, file: TextIO, table: Table, *, mark: bool) -> None:
        """Write the header.

        Args:
            mark: begin with UTF-8's mark.
        """
        if mark:
            file.write(_MARKER)
        self._writer = csv.writer(file, delimiter=table.delimiter)
        self._width = table.width
        self._writer.writerow(
            [*map(escape_formula, table.header), *output_columns(table.header).values()]
        )

    def add(self, cells: Sequence[str], ours: Annotation) -> None:
        """Write a row; what it has beyond the header's columns comes behind ours."""
        row = [escape_formula(cell) for cell in cells]
        row[len(row) :] = [""] * (self._width - len(row))
        added = map(escape_formula, (*ours[:5], _reference(ours)))
        self._writer.writerow([*row[: self._width], *added, *row[self._width :]])


def needs_bom(table: Table) -> bool:
    """Whether UTF-8's mark is needed: without it a spreadsheet on Windows takes the copy for what
    the file was written in."""
    with table.path.open("rb") as file:
        return table.encoding != "utf-8" or file.read(3) == b"\xef\xbb\xbf"


class AtomicOutput:
    """The copy while it is written: a draft beside its place, which it takes in one step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(path.name + ".part")
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        """Open the draft: a folder that cannot be written is noticed before anything is done.

        Raises:
            InvalidInput: it cannot.
        """
        try:
            if self._path.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            # A byte that was no text in the file comes out as it was.
            self._file = self._draft.open(
                "w", encoding="utf-8", errors="surrogateescape", newline=""
            )
        except OSError as error:
            raise InvalidInput(
                f"the copy cannot be written to {self._path}: {error.strerror}; "
                "name another place with --out"
            ) from error
        return self

    def begin(self, table: Table) -> Rows:
        """Write the header, and give what writes the rows."""
        if self._file is None:
            raise RuntimeError("not open")
        return Rows(self._file, table, mark=needs_bom(table))

    def publish(self) -> None:
        """Give the draft its place."""
        if self._file is None:
            raise RuntimeError("not open")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._draft.replace(self._path)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        with suppress(OSError):
            self._draft.unlink(missing_ok=True)


def check_unchanged(
    path: Path, header: Sequence[str], options: ImportOptions
) -> tuple[Table, dict[str, int]]:
    """An earlier copy, and where our columns are in it now.

    Args:
        header: of the bank's file.
        options: for the bank's file; how the copy is written is found anew.

    Raises:
        NotATable: the file there is no copy, and so must not be written over.
    """
    names = output_columns(header)
    try:
        table = open_statement(
            path, replace(options, delimiter=None, encoding=None, date_format=None)
        )
        at = {name: table.header.index(names[name]) for name in COLUMNS}
    except (InvalidInput, ValueError) as error:
        why = str(error) if isinstance(error, InvalidInput) else "a column of it is missing"
        raise NotATable(
            f"{path} is there and cannot be read back as an earlier copy ({why}); move it away, "
            "or name another place with --out"
        ) from error
    return table, at


def read_corrections(
    path: Path, header: Sequence[str], options: ImportOptions
) -> Iterator[UserLabel | RejectedLabel]:
    """What a person wrote into an earlier copy, saved by whatever spreadsheet; see `check`."""
    table, at = check_unchanged(path, header, options)
    for line, cells, wrong in table.rows():
        if len(cells) <= max(at.values()):
            continue  # not one of ours: a person's own notes below the table
        category, yours = (
            unescape_formula(cells[at["category"]]),
            unescape_formula(cells[at["your_category"]]),
        )
        found = _REF.fullmatch(unescape_formula(cells[at[REFERENCE]]))
        if found is None:
            if yours:
                yield RejectedLabel(line, wrong or f"{REFERENCE} is empty or changed")
            continue
        changed = found[1] != _digest(category), found[2] != _digest(yours)
        label = category if changed[0] and category and not (changed[1] and yours) else yours
        if not label:
            continue
        if len(label) > LABEL_MAX or not label.isprintable():
            yield RejectedLabel(line, f"a category has at most {LABEL_MAX} printable characters")
        else:
            yield UserLabel(found[3], label, any(changed))


def _reference(ours: Annotation) -> str:
    if ours.external_id is None:
        return ""
    written = unescape_formula(ours.category), unescape_formula(ours.yours)
    return f"ref-{_digest(written[0])}-{_digest(written[1])}-{ours.external_id}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]

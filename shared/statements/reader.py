"""A statement, a bank's CSV file: its layout and schema are inferred, then its rows are streamed.

The file is never held in memory: one pass finds the encoding, one takes a sample, and each call of
`Table.rows` is another.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self, TextIO

from shared.statements import column_names
from shared.statements.layout import DELIMITERS, Layout, find_layout, open_bytes
from shared.statements.schema import ImportOptions, Schema
from shared.statements.schema_inference import SchemaInference

CELL_MAX = 1 << 20  # characters
RECORD_LINES = 100  # a row on more lines than this has a quote that is never closed
SAMPLE_ROWS = 2_000
_UNCLOSED = "a quote is opened and not closed"
_DATE_LIKE = re.compile(r"\d+\W+\w+\W+\d+|\d{8}")


class Row(NamedTuple):
    """One row of the file: the line on which it begins, its cells, and why it cannot be read."""

    line: int
    cells: list[str]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A statement with its layout and schema."""

    path: Path
    layout: Layout
    schema: Schema
    detected: tuple[str, ...]  # what was inferred, and why, in sentences for the user

    @property
    def header(self) -> list[str]:
        return self.layout.header

    def rows(self) -> Iterator[Row]:
        """Every row below the header that is not empty.

        Raises:
            NotATable: the file cannot be read to its end.
        """
        return _read_rows(self.path, self.layout)

    def is_footer(self, cells: Sequence[str]) -> bool:
        """Whether a row that cannot be parsed is empty, or a sum or a balance below the table."""
        filled = [cell for cell in cells if cell.strip()]
        if not filled:
            return True
        words = column_names.normalize_name(filled[0]).split()
        return len(filled) <= 3 and bool(words) and words[0] in column_names.TOTALS


def open_statement(path: Path, options: ImportOptions) -> Table:
    """Infer a file's layout and schema.

    Raises:
        NotATable: it is no table of transactions; the message says what was found and is needed.
        InvalidInput: an option does not fit the file, or there is no such file.
    """
    column_names.validate_fields(options.columns)
    layout = find_layout(path, options)
    rows = islice(_read_rows(path, layout), SAMPLE_ROWS)
    schema = SchemaInference(
        header=layout.header,
        positions=layout.positions,
        sample=[row.cells for row in rows if row.error is None],
        delimiter=layout.delimiter,
        options=options,
    ).infer()
    detected = (
        f"encoding: {layout.encoding}",
        f"delimiter: {DELIMITERS.get(layout.delimiter, repr(layout.delimiter))}",
        f"header: line {layout.header_line}",
        *schema.detected,
    )
    return Table(path, layout, schema, detected)


def count_lines(path: Path) -> int:
    """The number of lines of a file, decompressed.

    Raises:
        NotATable: it is damaged.
    """
    with open_bytes(path) as source:
        return sum(1 for _ in source)


def _read_rows(path: Path, layout: Layout) -> Iterator[Row]:
    csv.field_size_limit(CELL_MAX)
    with open_bytes(path) as source:
        text = io.TextIOWrapper(source, layout.encoding, "surrogateescape", newline="")
        yield from _split(text, layout)


class _Lines:
    """The lines of a file for csv.reader, some of which can be read again.

    The iterator ends after RECORD_LINES lines of one row, so that csv.reader ends the row; the
    next call goes on.
    """

    def __init__(self, text: Iterator[str]) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self._of_row: list[str] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._text)
        self._of_row.append(line)
        if len(self._of_row) > RECORD_LINES:
            raise StopIteration
        return line

    def end_row(self) -> list[str]:
        """The lines of the row that csv.reader has just read."""
        of_row, self._of_row = self._of_row, []
        return of_row

    def read_again(self, lines: Sequence[str]) -> None:
        self._again.extendleft(reversed(lines))


def _split(text: TextIO, layout: Layout) -> Iterator[Row]:
    """Rows from lines. A quote that is never closed costs its own line, not those below it."""
    delimiter, width = layout.delimiter, len(layout.header)
    skipped = sum(1 for _ in islice(text, layout.header_line - 1))
    header = csv.reader(text, delimiter=delimiter)
    next(header, None)
    number = skipped + header.line_num + 1  # of the row's first line
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        error = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells, error = [], f"a cell has more than {CELL_MAX:,} characters"
        of_row = lines.end_row()
        if len(of_row) == 1 and len(cells) == width:
            yield Row(number, cells)
        elif error or len(of_row) > RECORD_LINES or any(_is_row(it, layout) for it in of_row[1:]):
            yield Row(number, [of_row[0].rstrip("\r\n")[:1000]], error or _UNCLOSED)
            lines.read_again(of_row[1:])
            del of_row[1:]
        elif any(map(str.strip, cells)):
            yield _fit(Row(number, cells), width)
        number += len(of_row)


def _is_row(line: str, layout: Layout) -> bool:
    """Whether a line within a quoted cell is a row, because a quote above it is not closed."""
    cells, date = line.split(layout.delimiter), layout.positions["date"]
    return (
        len(cells) >= len(layout.header)
        and _DATE_LIKE.search(cells[date]) is not None
        and cells[date].count('"') % 2 == 0
    )


def _fit(row: Row, width: int) -> Row:
    """The row without empty cells beyond the header's columns; of another width, an error."""
    if len(row.cells) < width or any(map(str.strip, row.cells[width:])):
        return row._replace(error=f"{len(row.cells)} cells, expected {width}")
    return row._replace(cells=row.cells[:width])

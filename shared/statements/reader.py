"""A bank's CSV file opened and understood: encoding, delimiter, header; then row by row.

    table = understand(path, options)
    table.detected          what was found, and why, for the person
    table.rows()            line number and cells of each row, as often as wanted

The file is never held in memory: it is looked at once for its encoding, once for a sample, and
then read as a stream.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self, TextIO, cast

from shared.errors import InvalidInput, NotATable
from shared.statements import column_names
from shared.statements.schema import ImportOptions, Schema, SchemaInference

CELL_MAX = 1 << 20  # characters
RECORD_LINES = 100  # a row on more lines than this has a quote that is never closed
HEADER_ROWS = 30  # how far down the names of the columns may stand
SAMPLE_ROWS = 2_000
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_PEEK = 1 << 18
_NEEDED = "a table needs a header row with a date, an amount, and a merchant or description column"
_BAD_BYTE = re.compile("[\udc80-\udcff]")  # how Python hands on a byte that is no text
_UNCLOSED = "a quote is opened and not closed"
_DATE_LIKE = re.compile(r"\d+\W+\w+\W+\d+|\d{8}")
_OTHER_KINDS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (save it as CSV first)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (save it as CSV first)",
}
_UNUSED_1252 = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")


class Row(NamedTuple):
    """One row of the file: where it starts, its cells, and why it cannot be one, if so."""

    line: int
    cells: list[str]
    error: str | None = None


class _Header(NamedTuple):
    """The row of names, and which field is in which of its columns."""

    line: int
    delimiter: str
    names: list[str]  # as they are written
    places: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file that is understood."""

    path: Path
    encoding: str
    delimiter: str
    header: list[str]
    header_line: int
    places: dict[str, int]  # field to column
    schema: Schema
    detected: tuple[str, ...]

    def rows(self) -> Iterator[Row]:
        """Every row below the header that holds anything.

        Raises:
            NotATable: the file cannot be read to its end.
        """
        return _rows(
            self.path,
            self.encoding,
            self.delimiter,
            self.header_line,
            self.width,
            self.places["date"],
        )

    @property
    def width(self) -> int:
        """How many cells a row has."""
        return len(self.header)

    def is_footer(self, cells: Sequence[str]) -> bool:
        """Whether what cannot be read is empty cells, or a sum or a balance below the table."""
        filled = [cell for cell in cells if cell.strip()]
        if not filled:
            return True
        words = column_names.normalize_name(filled[0]).split()
        return len(filled) <= 3 and bool(words) and words[0] in column_names.TOTALS


def open_statement(path: Path, options: ImportOptions) -> Table:
    """Find out all there is to know about a file before it is read.

    Raises:
        NotATable: it is no table of transactions; what was found, and what is needed.
        InvalidInput: an option does not fit the file, or there is no such file.
    """
    column_names.validate_fields(options.columns)
    head = _head(path)
    _refuse_other_kinds(path, head)
    encoding = options.encoding or _encoding(path, head)
    text = _decoded(path, head, encoding)
    _refuse_other_texts(path, text)
    found = _header(path, text, options)
    names, places, delimiter = _trimmed(found.names), found.places, found.delimiter
    rows = _rows(path, encoding, delimiter, found.line, len(names), places["date"])
    sample = [row.cells for row in islice(rows, SAMPLE_ROWS) if row.error is None]
    schema = SchemaInference(names, places, sample, delimiter=delimiter, options=options)
    meaning = schema.infer()
    return Table(
        path=path,
        encoding=encoding,
        delimiter=delimiter,
        header=names,
        header_line=found.line,
        places=places,
        schema=meaning,
        detected=(
            f"encoding: {encoding}",
            f"delimiter: {DELIMITERS.get(delimiter, repr(delimiter))}",
            f"header: line {found.line}",
            *meaning.detected,
        ),
    )


@contextmanager
def _binary(path: Path) -> Iterator[io.BufferedReader]:
    """The file's bytes, unpacked if it is packed; a damaged file is refused in one line.

    UTF-8's mark is passed over whatever follows it: some banks put it above Latin-1.
    """
    try:
        with path.open("rb") as raw:
            source = raw
            if raw.peek(2).startswith(b"\x1f\x8b"):
                unpacked = cast(io.RawIOBase, gzip.GzipFile(fileobj=raw))
                source = io.BufferedReader(unpacked, 1 << 18)
            if source.peek(3).startswith(codecs.BOM_UTF8):
                source.read(3)
            yield source
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotATable(f"{path.name} is damaged: {error}") from error
    except UnicodeError as error:
        encoding = getattr(error, "encoding", "that encoding")
        raise NotATable(
            f"{path.name} is not written in {encoding} throughout; give another --encoding"
        ) from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error


def line_count(path: Path) -> int:
    """How many lines the file has, unpacked.

    Raises:
        NotATable: it is damaged.
    """
    with _binary(path) as source:
        return sum(1 for _ in source)


def _head(path: Path) -> bytes:
    with _binary(path) as source:
        head = source.read(_PEEK)
    if not head.strip():
        raise NotATable(f"{path.name} is empty; {_NEEDED}")
    return head


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    for start, kind in _OTHER_KINDS.items():
        if head.startswith(start):
            raise NotATable(f"{path.name} is {kind}; {_NEEDED}")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1a" for byte in head[:4096])
    if odd > len(head[:4096]) // 50 + 3:
        raise NotATable(f"{path.name} holds binary data, not text; {_NEEDED}")


def _refuse_other_texts(path: Path, text: str) -> None:
    start = text.lstrip("\ufeff \t\r\n")[:200]
    if start.startswith("<"):
        raise NotATable(f"{path.name} is an HTML or XML document; {_NEEDED}")
    if start.startswith(("{", "[")):
        try:
            json.JSONDecoder().raw_decode(start)
        except json.JSONDecodeError as error:
            # JSON that is only cut off fails at its end, or within a string that is.
            is_json = error.pos > len(start) - 2 or error.msg.startswith("Unterminated")
        else:
            is_json = True
        if is_json or start[0] == "{":
            raise NotATable(f"{path.name} is a JSON document; {_NEEDED}")


def _encoding(path: Path, head: bytes) -> str:
    """UTF-16 by its mark; UTF-8 if nearly all of the file is; else what Windows writes.

    A few bad bytes in a file of UTF-8 cost their own rows, not every accent in the others.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good, bad, is_1252 = 0, 0, True
    with _binary(path) as source:
        while True:
            chunk = source.read(1 << 20)
            text = decoder.decode(chunk, final=not chunk)
            if not text.isascii():
                odd = len(_BAD_BYTE.findall(text))
                bad += odd
                good += len(text) - len(text.encode("ascii", "ignore")) - odd
                is_1252 = is_1252 and not any(byte in chunk for byte in _UNUSED_1252)
            if not chunk:
                break
    if good > bad or not bad:
        return "utf-8"
    return "cp1252" if is_1252 else "latin-1"


def _decoded(path: Path, head: bytes, encoding: str) -> str:
    try:
        return codecs.getincrementaldecoder(encoding)("surrogateescape").decode(head)
    except UnicodeError:
        raise NotATable(f"{path.name} is not written in {encoding}") from None


def _header(path: Path, text: str, options: ImportOptions) -> _Header:
    """Find the row of names: where most names are understood."""
    best: _Header | None = None
    widest: list[str] = []
    for delimiter in [options.delimiter] if options.delimiter else DELIMITERS:
        for line, cells in _records(text, delimiter):
            places = column_names.map_columns(_trimmed(cells), options.columns)
            if len(cells) > len(widest):
                widest = cells
            has_amount = not places.keys().isdisjoint(("amount", "debit", "credit"))
            is_header = "date" in places and has_amount
            if is_header and (best is None or len(places) > len(best.places)):
                best = _Header(line, delimiter, cells, places)
    if best is None:
        raise _lacking(path, widest, options)
    if {"merchant", "description"}.isdisjoint(best.places.keys() | options.columns):
        raise _lacking(path, best.names, options)
    for name, column in options.columns.items():
        if column and name not in best.places:
            raise InvalidInput(f"--map {name}={column}: there is no such column in the header")
    return best


def _trimmed(cells: Sequence[str]) -> list[str]:
    """The names of columns without blanks around them; empty ones at the end go."""
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The first rows of a text, with the line each one starts on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    try:
        for cells in islice(reader, HEADER_ROWS):
            yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        return


def _lacking(path: Path, widest: list[str], options: ImportOptions) -> NotATable:
    """A column is not there, or has a name that is not known: then the names help a person on."""
    if len(widest) < 2:
        return NotATable(f"{path.name}: one column only, no delimiter found; {_NEEDED}")
    places = column_names.map_columns(widest, options.columns)
    lacking = "amount" if places.keys().isdisjoint(("amount", "debit", "credit")) else "merchant"
    lacking = lacking if "date" in places else "date"
    names = ", ".join(repr(name.strip()[:30]) for name in widest[:12])
    return NotATable(
        f"{path.name}: no {lacking} column among {names}; {_NEEDED}: "
        f"name it with --map {lacking}=COLUMN if it is there",
        header=[name.strip() for name in widest],
    )


def _rows(
    path: Path, encoding: str, delimiter: str, header_line: int, width: int, date_place: int
) -> Iterator[Row]:
    csv.field_size_limit(CELL_MAX)
    with _binary(path) as source:
        text = io.TextIOWrapper(source, encoding, "surrogateescape", newline="")
        yield from _split(text, delimiter, header_line, width, date_place)


class _Lines:
    """The lines of a file for csv.reader, which can be given some of them once more.

    After a row of more than RECORD_LINES lines they end, so that csv.reader ends the row; asked
    again, they go on.
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

    def give_again(self, lines: Sequence[str]) -> None:
        self._again.extendleft(reversed(lines))


def _split(
    text: TextIO, delimiter: str, header_line: int, width: int, date_place: int
) -> Iterator[Row]:
    """Rows out of lines. A quote that is never closed costs its own line, not those below it."""
    skipped = sum(1 for _ in islice(text, header_line - 1))
    header = csv.reader(text, delimiter=delimiter)
    next(header, None)
    number = skipped + header.line_num + 1  # of the row's first line
    lines = _Lines(text)
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        wrong = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            cells, wrong = [], f"a cell has more than {CELL_MAX:,} characters"
        of_row = lines.end_row()
        if len(of_row) == 1 and len(cells) == width:
            yield Row(number, cells)
        elif wrong or _is_unclosed(of_row, delimiter, width, date_place):
            yield Row(number, [of_row[0].rstrip("\r\n")[:1000]], wrong or _UNCLOSED)
            lines.give_again(of_row[1:])
            del of_row[1:]
        elif (row := _odd(number, cells, width)) is not None:
            yield row
        number += len(of_row)


def _is_unclosed(of_row: Sequence[str], delimiter: str, width: int, date_place: int) -> bool:
    """Whether a row goes on because of a quote that should have been closed in its first line."""
    return len(of_row) > RECORD_LINES or any(
        _is_row(line, delimiter, width, date_place) for line in of_row[1:]
    )


def _is_row(line: str, delimiter: str, width: int, date_place: int) -> bool:
    """Whether a line within a quoted cell is a row of its own, for want of a closing quote."""
    cells = line.split(delimiter)
    return (
        len(cells) >= width
        and _DATE_LIKE.search(cells[date_place]) is not None
        and cells[date_place].count('"') % 2 == 0
    )


def _odd(line: int, cells: list[str], width: int) -> Row | None:
    """A row that is not simply as wide as the header; None if it holds nothing."""
    if not any(map(str.strip, cells)):
        return None
    if len(cells) == width or (len(cells) > width and not any(map(str.strip, cells[width:]))):
        return Row(line, cells[:width])
    return Row(line, cells, f"{len(cells)} cells, expected {width}")

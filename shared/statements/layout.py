"""The layout of a CSV file: encoding, delimiter and header. A file of another kind is refused."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, cast

from shared.errors import InvalidInput, NotATable
from shared.statements import column_names
from shared.statements.schema import ImportOptions

HEADER_ROWS = 30  # of the file, among which the header is searched
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_HEAD_BYTES = 1 << 18
_NEEDED = "a table needs a header row with a date, an amount, and a merchant or description column"
_BAD_BYTE = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of a byte that is no text
_OTHER_KINDS = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook (save it as CSV first)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (save it as CSV first)",
}
_UNUSED_1252 = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")


class Layout(NamedTuple):
    """How a CSV file is written."""

    encoding: str
    delimiter: str
    header: list[str]
    header_line: int  # the first is 1
    positions: dict[str, int]  # field to position in the header


class _HeaderRow(NamedTuple):
    """A row that may be the header."""

    delimiter: str
    line: int
    cells: list[str]
    positions: dict[str, int]

    @property
    def missing(self) -> str | None:
        """The first field that a table needs and that no column has."""
        if "date" not in self.positions:
            return "date"
        return "amount" if self.positions.keys().isdisjoint(("amount", "debit", "credit")) else None


def find_layout(path: Path, options: ImportOptions) -> Layout:
    """Infer how a file is written.

    Raises:
        NotATable: it is no table of transactions.
        InvalidInput: an option does not fit the file, or the file cannot be read.
    """
    with open_bytes(path) as source:
        head = source.read(_HEAD_BYTES)
    _refuse_other_kinds(path, head)
    encoding = options.encoding or _find_encoding(path, head)
    try:
        text = codecs.getincrementaldecoder(encoding)("surrogateescape").decode(head)
    except UnicodeError:
        raise NotATable(f"{path.name} is not written in {encoding}") from None
    _refuse_other_texts(path, text)
    row = _find_header(path, text, options)
    return Layout(encoding, row.delimiter, _trim(row.cells), row.line, row.positions)


@contextmanager
def open_bytes(path: Path) -> Iterator[io.BufferedReader]:
    """A file's bytes, decompressed and without UTF-8's byte order mark.

    Some banks put that mark above Latin-1, so it does not decide the encoding.

    Raises:
        NotATable: the file is damaged, or not in the encoding in which the caller reads it.
        InvalidInput: there is no such file, or it may not be read.
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


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    if not head.strip():
        raise NotATable(f"{path.name} is empty; {_NEEDED}")
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


def _find_encoding(path: Path, head: bytes) -> str:
    """UTF-16 by its mark; UTF-8 if nearly all of the file is; else what Windows writes.

    A few bad bytes in a file of UTF-8 cost their own rows, not every accent in the others.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    good, bad, is_1252 = 0, 0, True
    with open_bytes(path) as source:
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


def _find_header(path: Path, text: str, options: ImportOptions) -> _HeaderRow:
    """The row in which most columns have the name of a field."""
    rows = [
        _HeaderRow(delimiter, line, cells, column_names.map_columns(_trim(cells), options.columns))
        for delimiter in ([options.delimiter] if options.delimiter else DELIMITERS)
        for line, cells in _first_records(text, delimiter)
    ]
    headers = [row for row in rows if not row.missing]
    if not headers:
        raise _missing_column(path, max(rows, key=lambda row: len(row.cells), default=None))
    header = max(headers, key=lambda row: len(row.positions))
    if {"merchant", "description"}.isdisjoint(header.positions.keys() | options.columns):
        raise _missing_column(path, header)
    for name, column in options.columns.items():
        if column and name not in header.positions:
            raise InvalidInput(f"--map {name}={column}: there is no such column in the header")
    return header


def _trim(cells: Sequence[str]) -> list[str]:
    """The names of columns without blanks around them and without empty ones at the end."""
    names = [cell.strip() for cell in cells]
    while names and not names[-1]:
        names.pop()
    return names


def _first_records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The first rows of a text, with the line on which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    line = 1
    try:
        for cells in islice(reader, HEADER_ROWS):
            yield line, cells
            line = reader.line_num + 1
    except csv.Error:
        return


def _missing_column(path: Path, row: _HeaderRow | None) -> NotATable:
    """The error for a column that is missing or has an unknown name; it lists the names."""
    if row is None or len(row.cells) < 2:
        return NotATable(f"{path.name}: one column only, no delimiter found; {_NEEDED}")
    missing = row.missing or "merchant"
    header = [name.strip() for name in row.cells]
    names = ", ".join(repr(name[:30]) for name in header[:12])
    return NotATable(
        f"{path.name}: no {missing} column among {names}; {_NEEDED}: "
        f"name it with --map {missing}=COLUMN if it is there",
        header=header,
    )

"""A bank's CSV file into transactions and labels, in one transaction of the database.

    python -m worker.ingest bank.csv
    python -m worker.ingest bank.csv.gz --user anna --map label=Rubrik --sign spend-negative

The file is understood over a sample (`shared.csv_reading`), then streams by COPY into a temporary
table, from which a few statements merge it. What is there already stays as it is; importing a file
again changes nothing. Bad rows are written to a file of rejects, with line and reason.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from shared.categorized_csv import is_copy
from shared.csv_formats import ImportOptions as ImportOptions
from shared.csv_reading import DELIMITERS, Row, Table, understand
from shared.csv_values import BadCell, currency_of, date_format_named, encoding_named
from shared.db import make_engine
from shared.errors import InvalidInput, NotATable, SettingsError
from shared.rejects import Reject as Reject
from shared.rejects import Rejects, beside
from shared.settings import Settings
from worker.ingest_sql import Merge

_BATCH = 500  # rows that are parsed at a time
_PIECE_ROWS = 20_000  # rows that are stored at a time
_PIECE_SIZE = 4_000_000  # characters, for files of long texts
_SAY_EVERY_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What became of a file, in rows."""

    read: int
    inserted: int
    updated: int
    unchanged: int
    labels_inserted: int
    labels_updated: int
    labels_unchanged: int
    labels_kept: int  # a person's own label stands
    rejected: int
    rejects: tuple[Reject, ...]  # the first of them
    rejects_path: Path | None
    skipped: int  # lines of empty cells, or with a total below the table
    detected: tuple[str, ...]
    elapsed_seconds: float


def import_csv(
    engine: Engine,
    source: Path | BinaryIO,
    *,
    options: ImportOptions = ImportOptions(),  # noqa: B008  it is frozen
    progress: Callable[[int], None] | None = None,
    placed: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import one file: all of its good rows, or, if anything fails, nothing.

    Args:
        source: a file, or a stream, which is put into a temporary file: it is read twice.
        progress: told the rows read so far; may raise to end the import, which undoes it.
        placed: told the line and the transaction's id of each row taken, in the file's order.

    Raises:
        NotATable: the file is no table of transactions at all.
        InvalidInput: an option does not fit the file, or the file cannot be read.
    """
    with _file_of(source) as path:
        rejects_path = options.rejects or beside(source)
        return _import(engine, path, rejects_path, options, progress, placed)


def _import(
    engine: Engine,
    source: Path,
    rejects_path: Path,
    options: ImportOptions,
    progress: Callable[[int], None] | None,
    placed: Callable[[int, int], None] | None,
) -> ImportReport:
    started = time.monotonic()
    table = understand(source, options)
    if is_copy(table.header):  # its categories are guesses, and a guess never becomes a label
        raise NotATable(
            f"{source.name} is a copy with suggestions: give the bank's own file; "
            "make categorize reads what you wrote into the copy"
        )
    rejects = Rejects(rejects_path, table.header)
    pieces = _Pieces(table, rejects)
    merge = Merge(columns=table.meaning.columns, user=options.user)
    try:
        with engine.begin() as connection:
            merge.prepare(connection)
            for piece in _ahead(pieces):
                merge.take(connection, piece)
                if progress:
                    progress(pieces.read_rows)
            if merge.settle(connection):
                _reject_refused(connection, merge, table, rejects)
            counts = merge.run(connection)
            if placed:
                for line, txn_id in merge.placed(connection):
                    placed(line, txn_id)
            rejects.close()
        rejects.publish()
    except BaseException:
        rejects.discard()
        raise
    return ImportReport(
        read=pieces.read_rows,
        rejected=rejects.count,
        rejects=tuple(rejects.first),
        rejects_path=rejects.path,
        skipped=pieces.skipped,
        detected=table.detected,
        elapsed_seconds=round(time.monotonic() - started, 3),
        **counts,
    )


@contextmanager
def _file_of(source: Path | BinaryIO) -> Iterator[Path]:
    if isinstance(source, Path):
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix="import-", suffix=".csv") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        yield Path(file.name)


def _ahead(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces, each one made while PostgreSQL works on the one before."""
    making = iter(pieces)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        following = reader.submit(next, making, None)
        while (piece := following.result()) is not None:
            following = reader.submit(next, making, None)
            yield piece


class _Pieces:
    """The file's rows in COPY's text form, some ten thousand at a time."""

    def __init__(self, table: Table, rejects: Rejects) -> None:
        self.read_rows = 0
        self.skipped = 0
        self._table = table
        self._rejects = rejects

    def __iter__(self) -> Iterator[bytes]:
        piece: list[bytes] = []
        size = end = 0
        for chunk in self._chunks():
            piece.append(chunk.encode())
            size += len(chunk)
            if size >= _PIECE_SIZE or self.read_rows >= end:
                end = self.read_rows + _PIECE_ROWS
                yield b"".join(piece)
                piece.clear()
                size = 0
        if piece:
            yield b"".join(piece)

    def _chunks(self) -> Iterator[str]:
        rows = self._table.rows()
        while batch := list(islice(rows, _BATCH)):
            numbers, cells, wrongs = zip(*batch, strict=True)
            chunk = None
            if not any(wrongs):
                with suppress(BadCell):
                    chunk = self._table.meaning.lines(numbers, cells)
            if chunk is None:
                chunk = "".join(self._one_by_one(batch))
            else:
                self.read_rows += len(batch)
            yield chunk

    def _one_by_one(self, batch: Sequence[Row]) -> Iterator[str]:
        """The good rows of a batch that has a bad one."""
        line = self._table.meaning.line
        for number, cells, wrong in batch:
            if wrong is None:
                try:
                    values = line(cells)
                except BadCell as error:
                    wrong = str(error)
            if wrong is None:
                self.read_rows += 1
                yield f"{number}\t{values}"
            elif self._table.is_no_row(cells):
                self.skipped += 1
            else:
                self.read_rows += 1
                self._rejects.add(number, wrong, cells)


def _reject_refused(connection: Connection, merge: Merge, table: Table, rejects: Rejects) -> None:
    """Write the rows that the database refused, with their cells, which only the file has."""
    refused = merge.refused(connection)
    wanted = next(refused, None)
    for number, cells, _ in table.rows():
        if wanted is None:
            return
        if number == wanted[0]:
            rejects.add(number, wanted[1], cells)
            wanted = next(refused, None)


def main(argv: Sequence[str]) -> int:
    parser = _parser()
    wanted = parser.parse_args(argv)
    try:
        options = options_of(wanted)
    except ValueError as error:
        parser.error(str(error))
    is_stdin = str(wanted.file) == "-"
    source = sys.stdin.buffer if is_stdin else wanted.file
    try:
        # Nothing here needs the queue; the other settings may be absent in a shell.
        url = Settings.from_env({"REDIS_URL": "-", **os.environ}).database_url
        with telling() as progress:
            report = import_csv(make_engine(url), source, options=options, progress=progress)
    except InvalidInput as error:
        print(f"ingest: {error}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(f"ingest: {error}", file=sys.stderr)
        return 1
    except OperationalError as error:
        print(f"ingest: PostgreSQL does not answer: {_one_line(error)}", file=sys.stderr)
        return 1
    except DBAPIError as error:
        print(f"ingest: PostgreSQL refused, nothing is imported: {_one_line(error)}",
              file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        print("ingest: broken off, nothing is imported", file=sys.stderr)
        return 130
    print(summary(report, "standard input" if is_stdin else wanted.file.name))
    return 0


@contextmanager
def telling() -> Iterator[Callable[[int], None]]:
    """Tell every few seconds how far it is, also while PostgreSQL works and no row is read."""
    read, told = 0, 0
    ended = threading.Event()

    def progress(rows: int) -> None:
        nonlocal read
        read = rows

    def tell() -> None:
        nonlocal told
        while not ended.wait(_SAY_EVERY_S):
            doing = "rows read" if read != told else "rows read so far; still at work"
            told = read
            print(f"{read:,} {doing}", file=sys.stderr, flush=True)

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield progress
    finally:
        ended.set()
        teller.join()


def summary(report: ImportReport, name: str) -> str:
    """A report for the person at the terminal."""
    lines = [
        f"{name}: {report.read:,} rows read in {report.elapsed_seconds:.1f} s",
        f"  transactions: {report.inserted:,} inserted, {report.updated:,} updated, "
        f"{report.unchanged:,} unchanged",
        f"  labels: {report.labels_inserted:,} inserted, {report.labels_updated:,} updated, "
        f"{report.labels_unchanged:,} unchanged, {report.labels_kept:,} kept as a person set them",
        f"  rejected: {report.rejected:,}",
        *(f"    line {reject.line}: {reject.reason}" for reject in report.rejects),
    ]
    if report.rejected > len(report.rejects):
        lines.append(f"    and {report.rejected - len(report.rejects):,} more")
    if report.rejects_path:
        lines.append(f"    all of them: {report.rejects_path}")
    if report.skipped:
        lines.append(f"  lines left out (totals, empty cells): {report.skipped:,}")
    return "\n".join([*lines, "Detected:", *(f"  {fact}" for fact in report.detected)])


def _one_line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker.ingest",
        description="Import a bank's CSV file; what is not told is found in the file.",
    )
    parser.add_argument("file", type=Path, help="a CSV file, plain or .gz; - for standard input")
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """All that a person can say about a file; `options_of` reads it."""
    parser.add_argument("--user", help="whose transactions these are")
    parser.add_argument("--map", action="append", default=[], metavar="FIELD=COLUMN")
    parser.add_argument("--delimiter", help="one character, or: comma, semicolon, tab, bar")
    parser.add_argument("--encoding")
    parser.add_argument("--date-format", help="such as dd/mm/yyyy")
    parser.add_argument("--decimal", choices=(".", ","))
    parser.add_argument("--sign", choices=("spend-positive", "spend-negative"))
    parser.add_argument("--currency", help="where the file names none, such as EUR")
    parser.add_argument("--account", help="the account the file is of")
    parser.add_argument("--rejects", type=Path, metavar="PATH")


def options_of(wanted: argparse.Namespace) -> ImportOptions:
    """What was typed, checked as far as it can be without the file; ValueError if it is wrong."""
    columns = {}
    for item in wanted.map:
        name, separator, column = item.partition("=")
        if not separator or not name.strip():
            raise ValueError(f"--map {item}: expected field=column, or field= to leave it out")
        columns[name.strip()] = column.strip()
    delimiter = wanted.delimiter
    for char, word in DELIMITERS.items():
        if delimiter in (word, char, "\\t" if char == "\t" else char):
            delimiter = char
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise ValueError("--delimiter: give one character, or comma, semicolon, tab or bar")
    if wanted.encoding is not None:
        encoding_named(wanted.encoding)
    if wanted.date_format is not None:
        date_format_named(wanted.date_format)
    if wanted.currency is not None:
        currency_of(wanted.currency)
    return ImportOptions(
        user=wanted.user or None,
        columns=columns,
        delimiter=delimiter,
        encoding=wanted.encoding,
        date_format=wanted.date_format,
        decimal=wanted.decimal,
        sign=wanted.sign,
        currency=wanted.currency,
        account=wanted.account or None,
        rejects=wanted.rejects,
    )


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer letters
    with suppress(BrokenPipeError):
        raise SystemExit(main(sys.argv[1:]))

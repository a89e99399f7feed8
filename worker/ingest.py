"""A bank's CSV file into transactions and labels, in one transaction of the database.

    python -m worker.ingest bank.csv
    python -m worker.ingest bank.csv.gz --user anna --map label=Rubrik --sign spend-negative

The file is understood over a sample (`worker.csv_reading`), then streams by COPY into a temporary
table, from which a few statements merge it. What is there already stays as it is; importing a file
again changes nothing. Bad rows are written to a file of rejects, with line and reason.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import psycopg2
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from shared.db import make_engine
from shared.errors import InvalidInput, SettingsError
from shared.settings import Settings
from worker.csv_formats import ImportOptions as ImportOptions
from worker.csv_reading import DELIMITERS, Table, understand
from worker.csv_values import BadCell, currency_of, date_format_named
from worker.ingest_sql import Merge

REJECTS_SHOWN = 10
_BATCH = 500  # rows that are handed to COPY at a time
_SAY_EVERY_S = 3.0


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken: its line in the file, and why."""

    line: int
    reason: str


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
    source: Path,
    *,
    options: ImportOptions = ImportOptions(),  # noqa: B008  it is frozen
    progress: Callable[[int], None] | None = None,
) -> ImportReport:
    """Import one file: all of its good rows, or, if anything fails, nothing.

    Args:
        progress: told the rows read so far; may raise to end the import, which undoes it.

    Raises:
        NotATable: the file is no table of transactions at all.
        InvalidInput: an option does not fit the file, or the file cannot be read.
    """
    started = time.monotonic()
    table = understand(source, options)
    rejects = _Rejects(source, options.rejects, table.header)
    stream = _Stream(table, rejects, progress)
    merge = Merge(columns=table.meaning.columns, user=options.user)
    try:
        with engine.begin() as connection:
            merge.prepare(connection)
            _copy(connection, merge.copy, stream)
            refused = merge.settle(connection)
            if refused:
                _reject_refused(connection, merge, table, rejects)
            counts = merge.run(connection)
            rejects.close()
        rejects.publish()
    except BaseException:
        rejects.discard()
        raise
    return ImportReport(
        read=stream.read_rows,
        rejected=rejects.count,
        rejects=tuple(rejects.first),
        rejects_path=rejects.path,
        skipped=stream.skipped,
        detected=table.detected,
        elapsed_seconds=round(time.monotonic() - started, 3),
        **counts,
    )


class _Stream:
    """The file's rows as COPY reads them: `read` gives some whole lines, '' at the end."""

    def __init__(
        self, table: Table, rejects: _Rejects, progress: Callable[[int], None] | None
    ) -> None:
        self.read_rows = 0
        self.skipped = 0
        self.error: Exception | None = None
        self._table = table
        self._rejects = rejects
        self._progress = progress
        self._lines = self._parsed()

    def read(self, _size: int = -1) -> str:
        try:
            chunk = "".join(itertools.islice(self._lines, _BATCH))
            if self._progress:
                self._progress(self.read_rows)
        except Exception as error:
            self.error = error  # psycopg2 would tell of it in words of its own
            raise
        return chunk

    def _parsed(self) -> Iterator[str]:
        line = self._table.meaning.line
        for number, cells, wrong in self._table.rows():
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


class _Rejects:
    """The file of rejects: begun with the first one, and only there when all went well."""

    def __init__(self, source: Path, wanted: Path | None, header: Sequence[str]) -> None:
        name = source.name.removesuffix(".gz")
        name = (name[:-4] if name.lower().endswith(".csv") else name) + ".rejects.csv"
        beside = os.access(source.parent, os.W_OK)
        self._wanted = wanted or (source.parent if beside else Path.cwd()) / name
        self._draft = self._wanted.with_name(self._wanted.name + ".part")
        self._header = header
        self._file: TextIO | None = None
        self._writer: Any = None
        self.path: Path | None = None
        self.count = 0
        self.first: list[Reject] = []

    def add(self, line: int, reason: str, cells: Sequence[str]) -> None:
        self.count += 1
        if len(self.first) < REJECTS_SHOWN:
            self.first.append(Reject(line, reason))
        if self._file is None:
            try:
                self._file = self._draft.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise InvalidInput(
                    f"the rejects cannot be written to {self._wanted}: {error.strerror}; "
                    "name another place with --rejects"
                ) from error
            self._writer = csv.writer(self._file)
            self._writer.writerow(("line", "reason", *self._header))
        self._writer.writerow((line, reason, *cells))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def publish(self) -> None:
        """Give the file its name; the import is committed."""
        if self._file is not None:
            self._draft.replace(self._wanted)
            self.path = self._wanted
            self.first.sort(key=lambda reject: reject.line)

    def discard(self) -> None:
        if self._file is not None:
            self._file.close()
            self._draft.unlink(missing_ok=True)


def _copy(connection: Connection, statement: str, stream: _Stream) -> None:
    try:
        connection.connection.cursor().copy_expert(statement, stream, size=1 << 16)
    except psycopg2.Error as error:
        if stream.error is not None:
            raise stream.error from None
        lost = isinstance(error, psycopg2.OperationalError)
        raise (OperationalError if lost else DBAPIError)(statement, None, error) from error


def _reject_refused(connection: Connection, merge: Merge, table: Table, rejects: _Rejects) -> None:
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
        options = _options(wanted)
    except ValueError as error:
        parser.error(str(error))
    said = time.monotonic()

    def progress(rows: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            print(f"{rows:,} rows read", file=sys.stderr, flush=True)

    try:
        # Nothing here needs the queue; the other settings may be absent in a shell.
        url = Settings.from_env({"REDIS_URL": "-", **os.environ}).database_url
        report = import_csv(make_engine(url), wanted.file, options=options, progress=progress)
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
    print(summary(report, wanted.file))
    return 0


def summary(report: ImportReport, source: Path) -> str:
    """A report for the person at the terminal."""
    lines = [
        f"{source.name}: {report.read:,} rows read in {report.elapsed_seconds:.1f} s",
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
    parser.add_argument("file", type=Path, help="a CSV file, plain or .gz")
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
    return parser


def _options(wanted: argparse.Namespace) -> ImportOptions:
    """What was typed, checked as far as it can be without the file."""
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
    with suppress(BrokenPipeError):
        raise SystemExit(main(sys.argv[1:]))

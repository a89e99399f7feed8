"""Imports a bank's CSV file into transactions and labels, in one database transaction.

The file is understood over a sample (`shared.statements.reader`), then streams by COPY into a
temporary table, from which a few statements merge it. What is there already stays as it is;
importing a file again changes nothing. Bad rows are written to a file of rejects, with line and
reason.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection, Engine

from shared.errors import NotATable
from shared.statements.annotated_csv import is_copy
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import Row, Table, open_statement
from shared.statements.rejects import Reject, Rejects, beside
from shared.statements.schema import ImportOptions
from worker.statements.merge import Counts, Merge

_BATCH = 500  # rows that are parsed at a time
_PIECE_ROWS = 20_000  # rows that are stored at a time
_PIECE_SIZE = 4_000_000  # characters, for files of long texts


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
    source: Path | BinaryIO | Table,
    *,
    options: ImportOptions = ImportOptions(),  # noqa: B008  it is frozen
    progress: Callable[[int], None] | None = None,
    placed: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import one file: all of its good rows, or, if anything fails, nothing.

    Args:
        source: a file; a stream, which is put into a temporary file: it is read twice; or a file
            that was opened with the same options.
        progress: told the rows read so far; may raise to end the import, which undoes it.
        placed: told the line and the transaction's id of each row taken, in the file's order.

    Raises:
        NotATable: the file is no table of transactions at all.
        InvalidInput: an option does not fit the file, or the file cannot be read.
    """
    started = time.monotonic()
    file = source.path if isinstance(source, Table) else source
    with _table_of(source, options) as table:
        if is_copy(table.header):  # its categories are guesses, and a guess never becomes a label
            raise NotATable(
                f"{table.path.name} is a copy with suggestions: give the bank's own file; "
                "make categorize reads what you wrote into the copy"
            )
        rejects = Rejects(options.rejects or beside(file), table.header)
        pieces = _Chunks(table, rejects)
        counts = _store(engine, pieces, options.user, progress, placed)
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


def _store(
    engine: Engine,
    pieces: _Chunks,
    user: str | None,
    progress: Callable[[int], None] | None,
    placed: Callable[[int, int], None] | None,
) -> Counts:
    """Merge the rows into the tables and give the rejects their file; all of it or nothing."""
    table, rejects = pieces.table, pieces.rejects
    merge = Merge(columns=table.schema.columns, user=user)
    try:
        with engine.begin() as connection:
            merge.prepare(connection)
            for piece in _ahead(pieces):
                merge.copy(connection, piece)
                if progress:
                    progress(pieces.read_rows)
            if merge.resolve_ids(connection):
                _reject_refused(connection, merge, table, rejects)
            counts = merge.run(connection)
            if placed:
                for line, txn_id in merge.row_ids(connection):
                    placed(line, txn_id)
            rejects.close()
        rejects.publish()
    except BaseException:
        rejects.discard()
        raise
    return counts


@contextmanager
def _table_of(source: Path | BinaryIO | Table, options: ImportOptions) -> Iterator[Table]:
    if isinstance(source, Table):
        yield source
    elif isinstance(source, Path):
        yield open_statement(source, options)
    else:
        with tempfile.NamedTemporaryFile(prefix="import-", suffix=".csv") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            yield open_statement(Path(file.name), options)


def _ahead(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces, each one made while PostgreSQL works on the one before."""
    making = iter(pieces)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        following = reader.submit(next, making, None)
        while (piece := following.result()) is not None:
            following = reader.submit(next, making, None)
            yield piece


class _Chunks:
    """The file's rows in COPY's text form, some ten thousand at a time."""

    def __init__(self, table: Table, rejects: Rejects) -> None:
        self.read_rows = 0
        self.skipped = 0
        self.table = table
        self.rejects = rejects

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
        rows = self.table.rows()
        while batch := list(islice(rows, _BATCH)):
            numbers, cells, wrongs = zip(*batch, strict=True)
            chunk = None
            if not any(wrongs):
                with suppress(BadCell):
                    chunk = self.table.schema.lines(numbers, cells)
            if chunk is None:
                chunk = "".join(self._one_by_one(batch))
            else:
                self.read_rows += len(batch)
            yield chunk

    def _one_by_one(self, batch: Sequence[Row]) -> Iterator[str]:
        """The good rows of a batch that has a bad one."""
        line = self.table.schema.line
        for number, cells, wrong in batch:
            if wrong is None:
                try:
                    values = line(cells)
                except BadCell as error:
                    wrong = str(error)
            if wrong is None:
                self.read_rows += 1
                yield f"{number}\t{values}"
            elif self.table.is_footer(cells):
                self.skipped += 1
            else:
                self.read_rows += 1
                self.rejects.add(number, wrong, cells)


def _reject_refused(connection: Connection, merge: Merge, table: Table, rejects: Rejects) -> None:
    """Write the rows that the database refused, with their cells, which only the file has."""
    refused = merge.refused_rows(connection)
    wanted = next(refused, None)
    for number, cells, _ in table.rows():
        if wanted is None:
            return
        if number == wanted[0]:
            rejects.add(number, wanted[1], cells)
            wanted = next(refused, None)

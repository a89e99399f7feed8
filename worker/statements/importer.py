"""The import of a statement into transactions and labels, in one database transaction.

The rows are streamed by COPY into a temporary table, from which `Merge` updates the real ones.
Importing a file again changes nothing. Rows that cannot be read are written to a file of rejects.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Engine

from shared.errors import NotATable
from shared.statements.annotated_csv import is_copy
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import Row, Table, open_statement
from shared.statements.rejects import Reject, Rejects, default_path
from shared.statements.schema import ImportOptions
from worker.statements.merge import Counts, Merge

_BATCH_ROWS = 500  # parsed at a time
_PIECE_ROWS = 20_000  # stored at a time
_PIECE_CHARACTERS = 4_000_000  # for files of long texts


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """The counts of an import, in rows."""

    read: int
    inserted: int
    updated: int
    unchanged: int
    labels_inserted: int
    labels_updated: int
    labels_unchanged: int
    labels_kept: int  # the transaction has a human label
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
    on_row: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import all good rows of a file, or, if anything fails, nothing.

    Args:
        source: a file; a stream, which is copied to a temporary file; or a file that was opened
            with the same options.
        progress: called with the rows read so far; if it raises, the import is undone.
        on_row: called with line and transaction's id of each imported row, in the file's order.

    Raises:
        NotATable: the file is no table of transactions.
        InvalidInput: an option does not fit the file, or the file cannot be read.
    """
    started = time.monotonic()
    file = source.path if isinstance(source, Table) else source
    with _open_table(source, options) as table:
        if is_copy(table.header):  # its categories are guesses, and a guess never becomes a label
            raise NotATable(
                f"{table.path.name} is a copy with suggestions: give the bank's own file; "
                "make categorize reads what you wrote into the copy"
            )
        with closing(Rejects(options.rejects or default_path(file), table.header)) as rejects:
            pieces = _Pieces(table, rejects)
            counts = _store(engine, pieces, options.user, progress, on_row)
            rejects.publish()
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
    pieces: _Pieces,
    user: str | None,
    progress: Callable[[int], None] | None,
    on_row: Callable[[int, int], None] | None,
) -> Counts:
    """Merge the rows into the tables, in one database transaction."""
    with engine.begin() as connection:
        merge = Merge(connection, columns=pieces.table.schema.columns, user=user)
        for piece in _read_ahead(pieces):
            merge.copy(piece)
            if progress:
                progress(pieces.read_rows)
        if merge.resolve_ids():
            _reject_refused(merge, pieces)
        counts = merge.run()
        if on_row:
            for line, txn_id in merge.row_ids():
                on_row(line, txn_id)
        pieces.rejects.sync()  # before the commit: a full disk undoes the import
    return counts


@contextmanager
def _open_table(source: Path | BinaryIO | Table, options: ImportOptions) -> Iterator[Table]:
    if isinstance(source, Table):
        yield source
    elif isinstance(source, Path):
        yield open_statement(source, options)
    else:
        with tempfile.NamedTemporaryFile(prefix="import-", suffix=".csv") as file:
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            yield open_statement(Path(file.name), options)


def _read_ahead(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same pieces, each of which is made while PostgreSQL works on the one before."""
    iterator = iter(pieces)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        following = reader.submit(next, iterator, None)
        while (piece := following.result()) is not None:
            following = reader.submit(next, iterator, None)
            yield piece


class _Pieces:
    """The file's rows in COPY's text form, about _PIECE_ROWS at a time."""

    def __init__(self, table: Table, rejects: Rejects) -> None:
        self.read_rows = 0
        self.skipped = 0
        self.table = table
        self.rejects = rejects

    def __iter__(self) -> Iterator[bytes]:
        piece: list[bytes] = []
        size = end = 0
        rows = self.table.rows()
        while batch := list(islice(rows, _BATCH_ROWS)):
            text = self._parse(batch)
            piece.append(text.encode())
            size += len(text)
            if size >= _PIECE_CHARACTERS or self.read_rows >= end:
                end = self.read_rows + _PIECE_ROWS
                yield b"".join(piece)
                piece.clear()
                size = 0
        if piece:
            yield b"".join(piece)

    def _parse(self, batch: Sequence[Row]) -> str:
        numbers, cells, errors = zip(*batch, strict=True)
        if not any(errors):
            with suppress(BadCell):
                text = self.table.schema.lines(numbers, cells)
                self.read_rows += len(batch)
                return text
        return "".join(self._parse_one_by_one(batch))

    def _parse_one_by_one(self, batch: Sequence[Row]) -> Iterator[str]:
        """The good rows of a batch that has a bad one."""
        for number, cells, error in batch:
            try:
                if error is not None:
                    raise BadCell(error)
                values = self.table.schema.line(cells)
            except BadCell as bad_cell:
                if self.table.is_footer(cells):
                    self.skipped += 1
                    continue
                self.rejects.add(number, str(bad_cell), cells)
            else:
                yield f"{number}\t{values}"
            self.read_rows += 1


def _reject_refused(merge: Merge, pieces: _Pieces) -> None:
    """Add the rows that the database refused to the rejects; their cells are only in the file."""
    refused = merge.refused_rows()
    line, reason = next(refused, (0, ""))
    for number, cells, _ in pieces.table.rows():
        if number == line:
            pieces.rejects.add(number, reason, cells)
            line, reason = next(refused, (0, ""))
            if not line:
                return

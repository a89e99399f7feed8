"""Transactions into ml_features, by the same features_of as everywhere: only what is pending.

    python -m worker.feature_build --days 30
    python -m worker.feature_build --all

Pending is a transaction without features of its present content by the present code. Rows come out
by COPY, go through features_of, and go back by COPY into a temporary table from which one statement
merges them. A chunk is a transaction, so a build that is broken off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import datetime as dt
import io
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from shared.db import feature_store
from shared.db.engine import make_engine
from shared.features.extract import FEATURE_VERSION
from shared.settings import command_settings
from worker import command_line

CHUNK_ROWS = 5_000
RANGE_ROWS = 25_000
Progress = Callable[[int], None]


class Scope(NamedTuple):
    """Which transactions a build looks at: from a day on, or with a label only."""

    since: dt.date | None = None
    labelled: bool = False

    @property
    def sql(self) -> str:
        """Conditions on the transaction `t`; a date's own text needs no quoting."""
        conditions = ["t.deleted_at IS NULL"]
        if self.since:
            conditions.append(f"t.date >= '{self.since.isoformat()}'")
        if self.labelled:
            conditions.append("EXISTS (SELECT FROM transaction_labels AS l WHERE l.txn_id = t.id)")
        return " AND ".join(conditions)

    @property
    def pending(self) -> str:
        """The transactions in scope that have no features of their content by this code."""
        return f"""FROM transactions AS t WHERE {self.sql} AND NOT EXISTS (
            SELECT FROM ml_features AS f WHERE f.txn_id = t.id
            AND f.content_hash = t.content_hash AND f.feature_version = {FEATURE_VERSION})"""


class IdRange(NamedTuple):
    """Transactions with low <= id < high, of which `rows` were pending when it was cut."""

    low: int
    high: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did, in rows."""

    built: int
    unchanged: int
    removed: int
    elapsed_seconds: float


def build_pending(engine: Engine, scope: Scope, *, progress: Progress | None = None) -> BuildReport:
    """Bring the features in scope up to date, in this process.

    Args:
        progress: told the rows written so far; may raise to end the build, which keeps them.
    """
    started = time.monotonic()
    removed = remove_deleted(engine)
    built = 0
    for part in pending_ranges(engine, scope):
        before = built

        def tell(done: int, before: int = before) -> None:
            if progress:
                progress(before + done)

        built += build_range(engine, part, scope, progress=tell)
    return BuildReport(
        built=built,
        unchanged=count(engine, scope) - built,
        removed=removed,
        elapsed_seconds=round(time.monotonic() - started, 3),
    )


def pending_ranges(engine: Engine, scope: Scope, *, size: int = RANGE_ROWS) -> list[IdRange]:
    """Cut what is pending into ranges of ids with *size* pending rows each; none overlap."""
    statement = text(
        "SELECT min(id), max(id) + 1, count(*) FROM ("
        f"SELECT t.id, (row_number() OVER (ORDER BY t.id) - 1) / :size AS part {scope.pending}"
        ") AS pending GROUP BY part ORDER BY part"
    )
    with engine.connect() as connection:
        return [IdRange(*row) for row in connection.execute(statement, {"size": size})]


def build_range(
    engine: Engine, part: IdRange, scope: Scope, *, progress: Progress | None = None
) -> int:
    """Write the features of what is pending in one range; give the rows written.

    Python makes the features of one chunk while the server merges the one before.
    """
    lines = _read(engine, part, scope)
    written = 0
    merging: Future[int] | None = None
    with ThreadPoolExecutor(max_workers=1) as server:
        for start in range(0, len(lines), CHUNK_ROWS):
            chunk = list(map(feature_store.features_line, lines[start : start + CHUNK_ROWS]))
            if merging is not None:
                written += merging.result()
                if progress:
                    progress(written)
            merging = server.submit(_merge, engine, chunk)
        if merging is not None:
            written += merging.result()
    if progress and written:
        progress(written)
    return written


def remove_deleted(engine: Engine) -> int:
    """Remove the features of transactions that were deleted softly; give how many went."""
    with engine.begin() as connection:
        return connection.execute(
            text(
                "DELETE FROM ml_features AS f USING transactions AS t "
                "WHERE t.id = f.txn_id AND t.deleted_at IS NOT NULL"
            )
        ).rowcount


def count(engine: Engine, scope: Scope) -> int:
    """How many transactions are in scope."""
    with engine.connect() as connection:
        return int(
            connection.scalar(text(f"SELECT count(*) FROM transactions AS t WHERE {scope.sql}"))
            or 0
        )


def last_days(days: int | None) -> Scope:
    """The last *days*, counted back from today (UTC); None means all."""
    if days is None:
        return Scope()
    return Scope(since=dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days))


def _read(engine: Engine, part: IdRange, scope: Scope) -> list[str]:
    """The pending rows of a range, a line of COPY's text format each."""
    out = io.StringIO()
    columns = ", ".join(f"t.{name}" for name in feature_store.COPIED_COLUMNS)
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.copy_expert(
            f"COPY (SELECT {columns} {scope.pending} AND t.id >= {part.low} AND t.id < {part.high} "
            "ORDER BY t.id) TO STDOUT",
            out,
        )
    return out.getvalue().split("\n")[:-1]  # COPY escapes line feeds within values


def _merge(engine: Engine, chunk: Sequence[str]) -> int:
    """Write one chunk of lines in a transaction of its own; give the rows written.

    A transaction that is deleted for good meanwhile ends the attempt; the next one leaves it out.
    """
    for _ in range(10):
        try:
            with engine.begin() as connection:
                return feature_store.write_lines(connection, chunk)
        except IntegrityError as error:
            deleted = error
    raise deleted


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m worker.feature_build", description=__doc__)
    span = parser.add_mutually_exclusive_group()
    span.add_argument("--days", type=int, default=180, help="of the last N days (default 180)")
    span.add_argument("--all", action="store_true", help="of all transactions")
    wanted = parser.parse_args(argv)
    if wanted.days < 0:
        parser.error("--days must be a whole number from 0")

    def command() -> str:
        report = build_pending(
            make_engine(command_settings().database_url),
            last_days(None if wanted.all else wanted.days),
            progress=lambda done: print(f"{done:,} rows built", file=sys.stderr),
        )
        if not report.built and not report.removed:
            return f"Nothing to do: {report.unchanged:,} rows are up to date."
        return (
            f"{report.built:,} rows built, {report.unchanged:,} unchanged, "
            f"{report.removed:,} removed in {report.elapsed_seconds:.1f} s"
        )

    return command_line.run("feature_build", command, outcome="rows built so far stay")

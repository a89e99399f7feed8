"""Builds the features of pending transactions into `ml_features`.

Rows come out by COPY, go through `features_of`, and go back by COPY into a temporary table from
which one statement merges them. A chunk is a database transaction, so a build that is interrupted
goes on where it stopped.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from shared.db import feature_store
from worker.features import pending
from worker.features.pending import IdRange
from worker.features.pending import Scope as Scope  # also by this name, for its many callers

CHUNK_ROWS = 5_000
MERGE_ATTEMPTS = 10
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What a build did, in rows."""

    built: int
    unchanged: int
    removed: int
    elapsed_seconds: float


def build_pending(
    engine: Engine, scope: Scope, *, progress: Progress = lambda _: None
) -> BuildReport:
    """Bring the features in scope up to date, in this process.

    *progress* gets the number of rows written so far; it may raise to end the build. Rows stay.
    """
    started = time.monotonic()
    removed = pending.remove_deleted(engine)
    built = 0

    def report(done: int) -> None:
        progress(built + done)

    for part in pending.pending_ranges(engine, scope):
        built += build_range(engine, part, scope, report)
    return BuildReport(
        built=built,
        unchanged=pending.count(engine, scope) - built,
        removed=removed,
        elapsed_seconds=round(time.monotonic() - started, 3),
    )


def build_range(
    engine: Engine, part: IdRange, scope: Scope, progress: Progress = lambda _: None
) -> int:
    """Write the features of what is pending in one range; give the number of rows written.

    Python makes the features of one chunk while the server merges the one before.
    """
    lines = _read(engine, part, scope)
    written = 0
    merging: Future[int] | None = None
    with ThreadPoolExecutor(max_workers=1) as server:
        for start in range(0, len(lines), CHUNK_ROWS):
            chunk = feature_store.features_lines(lines[start : start + CHUNK_ROWS])
            if merging is not None:
                written += merging.result()
                progress(written)
            merging = server.submit(_merge, engine, chunk)
        if merging is not None:
            written += merging.result()
    if written:
        progress(written)
    return written


def _read(engine: Engine, part: IdRange, scope: Scope) -> list[str]:
    """The pending rows of a range, a line of COPY's text format each."""
    out = io.StringIO()
    columns = ", ".join(f"t.{name}" for name in feature_store.COPIED_COLUMNS)
    with engine.connect() as connection:
        connection.connection.cursor().copy_expert(
            f"COPY (SELECT {columns} {scope.pending} AND t.id >= {part.low} AND t.id < {part.high} "
            "ORDER BY t.id) TO STDOUT",
            out,
        )
    return out.getvalue().split("\n")[:-1]  # COPY escapes line feeds within values


def _merge(engine: Engine, chunk: Sequence[str]) -> int:
    """Write one chunk in a database transaction of its own; give the number of rows written.

    A transaction that is deleted for good meanwhile ends the attempt; the next one leaves it out.
    """
    for _ in range(MERGE_ATTEMPTS - 1):
        with suppress(IntegrityError), engine.begin() as connection:
            return feature_store.write_lines(connection, chunk)
    with engine.begin() as connection:
        return feature_store.write_lines(connection, chunk)

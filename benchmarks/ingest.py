"""Speed of an import beside a bare COPY of the same rows.

    DATABASE_URL=postgresql://… python -m benchmarks.ingest bank.csv.gz

Creates a temporary database on that server, and drops it. Each round runs every method once, on
empty tables; the medians are compared. An import reads, checks and merges; COPY gets its rows
ready-made. Labels have a foreign key and three indexes, so both also run on transactions alone.
"""

from __future__ import annotations

import io
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.settings import Settings
from shared.statements.cell_parsers import BadCell
from shared.statements.reader import open_statement
from shared.statements.schema import ImportOptions
from worker.statements.importer import import_csv

ROUNDS = 3


class Prepared(NamedTuple):
    """The file's rows in the text format of COPY, and the COPY statement for them."""

    rows: str
    labels: str
    statement: str


def prepare(source: Path) -> Prepared:
    """Convert the rows that an import would take, transactions and labels apart."""
    table = open_statement(source, ImportOptions())
    columns = table.schema.columns
    positions = [index for index, name in enumerate(columns) if name != "label"]
    label = columns.index("label") if "label" in columns else None
    rows, labels = io.StringIO(), io.StringIO()
    number = 0
    for row in table.rows():
        try:
            values = table.schema.line(row.cells).rstrip("\n").split("\t")
        except BadCell:
            continue
        number += 1
        rows.write("\t".join([str(number), *(values[index] for index in positions)]) + "\n")
        if label is not None and values[label] != "\\N":
            labels.write(f"{number}\t{values[label]}\timport\n")
    names = ", ".join(columns[index] for index in positions)
    return Prepared(
        rows.getvalue(), labels.getvalue(), f"COPY transactions (id, {names}) FROM STDIN"
    )


def time_copy(engine: Engine, ready: Prepared, *, labels: bool) -> float:
    """Seconds of COPY, with its commit."""
    started = time.perf_counter()
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.copy_expert(ready.statement, io.StringIO(ready.rows), size=1 << 16)
        if labels:
            cursor.copy_expert(
                "COPY transaction_labels (txn_id, label, source) FROM STDIN",
                io.StringIO(ready.labels),
                size=1 << 16,
            )
    return time.perf_counter() - started


def time_import(engine: Engine, source: Path, *, labels: bool) -> float:
    """Seconds of one import."""
    columns = {} if labels else {"label": ""}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rejects = Path(folder, "rejects.csv")
        import_csv(engine, source, options=ImportOptions(rejects=rejects, columns=columns))
    return time.perf_counter() - started


def empty_tables(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("TRUNCATE transactions, transaction_labels CASCADE"))
        connection.execute(text("CHECKPOINT"))


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print("usage: DATABASE_URL=… python -m benchmarks.ingest bank.csv", file=sys.stderr)
        return 2
    source = Path(argv[0])
    url = Settings.from_env({"REDIS_URL": "-", **os.environ}).database_url
    server = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    name = f"bench_{secrets.token_hex(4)}"
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = make_engine(make_url(url).set(database=name).render_as_string(hide_password=False))
    try:
        migrate(engine)
        ready = prepare(source)
        methods: dict[str, Callable[[], float]] = {
            "COPY, transactions": lambda: time_copy(engine, ready, labels=False),
            "import, transactions": lambda: time_import(engine, source, labels=False),
            "COPY, with labels": lambda: time_copy(engine, ready, labels=True),
            "import, with labels": lambda: time_import(engine, source, labels=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        for _ in range(ROUNDS):
            for method, run in methods.items():
                empty_tables(engine)
                seconds[method].append(run())
    finally:
        engine.dispose()
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    count = ready.rows.count("\n")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    print(f"{count:,} rows of {source.name}, medians of {ROUNDS}")
    for method, median in medians.items():
        against = [
            f"{medians[copy] / median:.2f} of {copy}"
            for copy in ("COPY, transactions", "COPY, with labels")
            if method.startswith("import")
        ]
        print(f"{method}: {count / median:,.0f} rows/s {'; '.join(against)}".rstrip())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

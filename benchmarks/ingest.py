"""How fast an import is beside a bare COPY of the same rows into the same table.

    DATABASE_URL=postgresql://… python -m benchmarks.ingest bank.csv.gz

Makes a database of its own on that server, and drops it. Each round runs both ways, one after the
other, on empty tables; the medians are compared. The import includes reading, checking, merging
and the labels; the COPY gets its rows ready-made and does transactions only.
"""

from __future__ import annotations

import io
import os
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from shared.db import make_engine, migrate
from shared.settings import Settings
from worker.csv_values import BadCell
from worker.ingest import ImportOptions, import_csv, understand

ROUNDS = 3


def prepared(source: Path) -> tuple[str, str]:
    """The file's rows in COPY's text form without the label, and the COPY for them."""
    table = understand(source, ImportOptions())
    columns = table.meaning.columns
    kept = [place for place, name in enumerate(columns) if name != "label"]
    out = io.StringIO()
    for row in table.rows():
        try:
            values = table.meaning.line(row.cells).rstrip("\n").split("\t")
        except BadCell:
            continue
        out.write("\t".join([values[place] for place in kept]) + "\n")
    names = ", ".join(columns[place] for place in kept)
    return out.getvalue(), f"COPY transactions ({names}) FROM STDIN"


def bare_copy(engine: Engine, rows: str, statement: str) -> float:
    """Seconds of one COPY, to its commit."""
    started = time.perf_counter()
    with engine.begin() as connection:
        connection.connection.cursor().copy_expert(statement, io.StringIO(rows), size=1 << 16)
    return time.perf_counter() - started


def whole_import(engine: Engine, source: Path) -> float:
    """Seconds of one import, to its report."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        import_csv(engine, source, options=ImportOptions(rejects=Path(folder, "rejects.csv")))
    return time.perf_counter() - started


def empty(engine: Engine) -> None:
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
        rows, statement = prepared(source)
        count = rows.count("\n")
        copies, imports = [], []
        for number in range(ROUNDS):
            empty(engine)
            copies.append(bare_copy(engine, rows, statement))
            empty(engine)
            imports.append(whole_import(engine, source))
            print(
                f"round {number + 1}: COPY {copies[-1]:.2f} s, import {imports[-1]:.2f} s",
                flush=True,
            )
    finally:
        engine.dispose()
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    copy, whole = statistics.median(copies), statistics.median(imports)
    print(f"{count:,} rows of {source.name}")
    print(f"bare COPY: {count / copy:,.0f} rows/s")
    print(f"import with labels: {count / whole:,.0f} rows/s, {copy / whole:.2f} of bare COPY")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

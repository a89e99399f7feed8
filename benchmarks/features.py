"""Speed of the feature build beside plain SQL and beside pandas.

    make bench BENCH=features [ARGS=bank.csv.gz]

The rows are made-up statements, or those of a file, whose figures are only printed. They are in a
temporary database. Each round runs every method once, on an empty ml_features; the medians are
compared. "PostgreSQL alone" is one INSERT … SELECT that fills the same columns, with the cleaning
that regular expressions in SQL can do.
"""

from __future__ import annotations

import argparse
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from os import environ
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from benchmarks import report
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.features.extract import FEATURE_VERSION, FeatureRow
from shared.settings import Settings
from shared.statements.schema import ImportOptions
from worker.features import build as feature_build
from worker.features.build import Scope
from worker.statements.importer import import_csv

ROUNDS = 3
SQL_ALONE = f"""
    INSERT INTO ml_features (
        txn_id, date, ts_month, amount, abs_amount, currency, line, merchant, norm_desc, channel,
        dow, is_weekend, hour_of_day, is_subscription, is_p2p, mcc, account, user_id,
        content_hash, feature_version)
    SELECT id, date, date_trunc('month', date)::date, amount::float8, abs(amount)::float8, currency,
        regexp_replace(lower(coalesce(merchant, '')), '[^[:alnum:]]+', ' ', 'g'),
        regexp_replace(regexp_replace(lower(coalesce(merchant, '')), '#?[0-9]+', '', 'g'),
            '[^[:alnum:]]+', ' ', 'g'),
        regexp_replace(lower(coalesce(description, '')), '[^[:alnum:]]+', ' ', 'g'),
        CASE WHEN lower(merchant) ~ 'www|\\.com|online|paypal' THEN 'online'
             WHEN lower(merchant) ~ 'atm|cash' THEN 'atm' ELSE 'pos' END,
        extract(isodow FROM date) - 1, extract(isodow FROM date) > 5, coalesce(hour_of_day, -1),
        lower(merchant) ~ 'netflix|spotify|gym|subscription|membership',
        lower(merchant) ~ 'zelle|venmo|cash app|interac', coalesce(mcc, ''),
        coalesce(account, ''), coalesce(user_id, ''), content_hash, {FEATURE_VERSION}
    FROM transactions WHERE deleted_at IS NULL
"""


def main(argv: list[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks features")
    options.add_argument("csv", type=Path)
    options.add_argument("--made-up", action="store_true", help="write docs/performance.md")
    args = options.parse_args(argv)
    base = make_url(Settings.from_env(environ).database_url)
    name = f"bench_{secrets.token_hex(4)}"
    admin = make_engine(base.render_as_string(hide_password=False))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = make_engine(base.set(database=name).render_as_string(hide_password=False))
    try:
        migrate(engine)
        rows = import_csv(engine, args.csv, options=ImportOptions()).inserted
        table = _compare(engine, rows)
    finally:
        engine.dispose()
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    if args.made_up:
        report.publish("features", report.conditions("make bench BENCH=features"), table)
    else:
        print(table)
    return 0


def _compare(engine: Engine, rows: int) -> str:
    feature_build.build_pending(engine, Scope())
    columns = ", ".join(("txn_id", *FeatureRow._fields, "content_hash", "feature_version"))
    frame = pd.read_sql(f"SELECT {columns} FROM ml_features", engine)

    def build() -> None:
        assert feature_build.build_pending(engine, Scope()).built == rows

    def build_nothing() -> None:
        assert feature_build.build_pending(engine, Scope()).built == 0

    def sql_alone() -> None:
        with engine.begin() as connection:
            connection.execute(text(SQL_ALONE))

    def pandas() -> None:
        frame.to_sql("ml_features", engine, if_exists="append", index=False)

    methods: dict[str, Callable[[], None]] = {
        "PostgreSQL alone": sql_alone,
        "the build": build,
        "pandas to_sql": pandas,
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*methods, "the build, nothing new")}
    for _ in range(ROUNDS):
        for name, method in methods.items():
            with engine.begin() as connection:
                connection.execute(text("TRUNCATE ml_features"))
            seconds[name].append(_time(method))
            if name == "the build":
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text("ANALYZE ml_features"))
                seconds["the build, nothing new"].append(_time(build_nothing))
    base = statistics.median(seconds["PostgreSQL alone"])
    table = []
    for name, measured in seconds.items():
        median = statistics.median(measured)
        table.append([name, f"{median:.2f}", f"{rows / median:,.0f}", f"{base / median:.2f} ×"])
    return report.table([f"{rows:,} rows", "s", "rows/s", "beside PostgreSQL alone"], table)


def _time(method: Callable[[], None]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    method()
    return time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

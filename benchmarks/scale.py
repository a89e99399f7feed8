"""From a hundred thousand transactions to ten million: import, features, training, suggestions.

    make bench BENCH=scale [ARGS="--rows 100000,1000000"]

Made-up statements with a merchant for every ten transactions, a tenth of the rows labelled. Import
and feature build are the commands that a person would run, each in a process of its own, whose
memory is measured; training and the build by several workers go through the queue. Ten million rows
need 15 GB of disk and about an hour.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy import Engine, text

from benchmarks import report
from benchmarks.jobs import wait_for_jobs, worker
from benchmarks.serving.running import running
from benchmarks.serving.targets import OURS, TARGETS, TOKEN
from benchmarks.suggest.calls import request_for
from local.servers.temporary import postgres, valkey
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.jobs.requests import request_features, request_training
from shared.services import build as build_services
from shared.settings import Settings

ROWS = (100_000, 1_000_000, 10_000_000)
ROWS_A_MERCHANT = 10
CATEGORIES = 50
LABELLED = 0.1
CHUNK = 100_000
TRAINED_ON = 100_000
WORKERS = (1, 2, 4)
PARALLEL_BUILD_ROWS = 1_000_000  # at most, since it is built once for each number of workers
START = dt.date(2020, 1, 1)
DAYS = 2_000
JOB_TIMEOUT_S = 3_600.0
POLL_S = 0.01  # between two readings of the memory of a process


class Cost(NamedTuple):
    """Seconds and peak memory of a process, without its children."""

    seconds: float
    memory_mb: float


def main(argv: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks scale")
    options.add_argument(
        "--rows", type=lambda text: [int(size) for size in text.split(",")], default=ROWS
    )
    sizes = options.parse_args(argv).rows
    curve: list[_Size] = []
    use = parallel = ""
    for size in sizes:
        print(f"{size:,} rows", file=sys.stderr, flush=True)
        with postgres() as database, valkey() as broker, tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            env = {
                "DATABASE_URL": database.url,
                "REDIS_URL": broker.url,
                "ML_REGISTRY_DIR": str(folder / "registry"),
                "API_TOKENS": f"admin:{TOKEN}",
            }
            engine = make_engine(Settings.from_env(env).database_url)
            migrate(engine)
            curve.append(_fill(engine, env, folder, size))
            if size == max(rows for rows in sizes if rows <= PARALLEL_BUILD_ROWS):
                parallel = _build_by_workers(engine, env, folder, size)
            if size == max(sizes):
                use = _measure_use(engine, env, folder, size)
            engine.dispose()
    report.publish(
        "scale",
        report.conditions("make bench BENCH=scale"),
        report.table(
            [
                "rows", "import s", "rows/s", "MB", "features s", "rows/s", "MB",
                "transactions GB", "features GB",
            ],
            [size.row() for size in curve],
        ),
        _slopes(curve),
        parallel,
        use,
    )  # fmt: skip
    return 0


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


class _Size(NamedTuple):
    """The cost of import and feature build for one number of rows."""

    rows: int
    imported: Cost
    built: Cost
    table_gb: list[float]  # transactions, ml_features

    def rates(self) -> tuple[float, float]:
        """Rows a second of import and feature build."""
        return self.rows / self.imported.seconds, self.rows / self.built.seconds

    def row(self) -> list[str]:
        row = [f"{self.rows:,}"]
        for cost, rate in zip((self.imported, self.built), self.rates(), strict=True):
            row += [f"{cost.seconds:.1f}", f"{rate:,.0f}", f"{cost.memory_mb:.0f}"]
        return [*row, *(f"{gb:.2f}" for gb in self.table_gb)]


def _slopes(curve: Sequence[_Size]) -> str:
    """How speed and memory change from the smallest to the largest size."""
    small, large = curve[0], curve[-1]
    rates = [
        of_large / of_small for of_small, of_large in zip(small.rates(), large.rates(), strict=True)
    ]
    more = [
        getattr(large, step).memory_mb - getattr(small, step).memory_mb
        for step in ("imported", "built")
    ]
    return (
        f"From {small.rows:,} to {large.rows:,} rows, 1 × being flat: import rows/s "
        f"{rates[0]:.2f} ×, features rows/s {rates[1]:.2f} ×; memory {more[0]:+.0f} MB and "
        f"{more[1]:+.0f} MB."
    )


def _fill(engine: Engine, env: Mapping[str, str], folder: Path, size: int) -> _Size:
    file = folder / "statements.csv"
    _write(file, size)
    imported = _run(env, "worker.ingest", str(file))
    file.unlink()
    built = _run(env, "worker.feature_build", "--all")
    with engine.connect() as connection:
        large = [
            float(connection.scalar(text(f"SELECT pg_total_relation_size('{table}') / 1e9")) or 0)
            for table in ("transactions", "ml_features")
        ]
    return _Size(size, imported, built, large)


def _write(path: Path, size: int) -> None:
    """Write statements in order of time; the same size gives the same bytes."""
    rng = np.random.default_rng(size)
    merchants = size // ROWS_A_MERCHANT
    letters = np.array(list("abcdeghiklmnoprstuvz"))
    names = ["".join(word).upper() for word in rng.choice(letters, size=(merchants, 9))]
    category = rng.integers(CATEGORIES, size=merchants)
    with path.open("w", encoding="utf-8") as out:
        out.write("txn_id,date,amount,currency,merchant,description,label\n")
        for start in range(0, size, CHUNK):
            count = min(CHUNK, size - start)
            # Squared: few merchants are frequent, most are rare.
            merchant = (rng.random(count) ** 2 * merchants).astype(np.int64).tolist()
            amount = rng.lognormal(3, 1, count).round(2).tolist()
            store = rng.integers(1, 3000, count).tolist()
            labelled = (rng.random(count) < LABELLED).tolist()
            day = (np.arange(start, start + count) * DAYS // size).tolist()
            for index in range(count):
                name, number = names[merchant[index]], category[merchant[index]]
                date = START + dt.timedelta(days=day[index])
                label = f"Category {number}" if labelled[index] else ""
                out.write(
                    f"s{start + index},{date},-{amount[index]},EUR,"
                    f"{name} TRADE{number} #{store[index]},,{label}\n"
                )


def _run(env: Mapping[str, str], *command: str) -> Cost:
    """Run a command of the project.

    Raises:
        RuntimeError: the command failed.
    """
    started, peak_mb = time.perf_counter(), 0.0
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={**os.environ, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        peak_mb = _peak_mb(process.pid) or peak_mb
        time.sleep(POLL_S)
    took = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return Cost(took, peak_mb)


def _peak_mb(pid: int) -> float:
    """Peak memory of a running process so far; 0 once it has ended.

    The kernel's figure for an ended child would start at the size of the parent that forked it.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    peaks = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return float(next(peaks, 0)) * 1024 / 1e6


def _build_by_workers(engine: Engine, env: Mapping[str, str], folder: Path, size: int) -> str:
    """A table of the whole feature build by several workers, with the start of their processes."""
    services = build_services(Settings.from_env({**env}))
    rows = []
    for workers in WORKERS:
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE ml_features"))
        with ExitStack() as stack:
            started = time.perf_counter()
            for _ in range(workers):
                stack.enter_context(worker(folder, env))
            request_features(
                services.engine, services.publisher, requested_by="benchmark", days=None,
                idempotency_key=None,
            )  # fmt: skip
            wait_for_jobs(engine, JOB_TIMEOUT_S)
            took = time.perf_counter() - started
        rows.append([workers, f"{took:.1f}", f"{size / took:,.0f}"])
    services.close()
    return report.table([f"workers, {size:,} rows", "features s", "rows/s"], rows)


def _measure_use(engine: Engine, env: Mapping[str, str], folder: Path, size: int) -> str:
    """A table of training and suggestions, at the largest size."""
    services = build_services(Settings.from_env({**env}))
    rows: list[list[str]] = []
    with worker(folder, env, "training"):
        started = time.perf_counter()
        request_training(
            services.engine, services.publisher, requested_by="benchmark", limit=TRAINED_ON,
            deploy="gate", idempotency_key=None,
        )  # fmt: skip
        wait_for_jobs(engine, JOB_TIMEOUT_S)
        took = time.perf_counter() - started
    rows.append([f"training on {TRAINED_ON:,}", f"{took:.1f}", f"{TRAINED_ON / took:,.0f}"])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    target = next(target for target in TARGETS if target.name == OURS)
    rng = np.random.default_rng(0)
    with running(target, folder, env=env) as web:
        for count in (1, 1_000):
            requests = [
                request_for((1 + rng.integers(size, size=count)).tolist()) for _ in range(200)
            ]
            seen = web.measure(requests, 1, 5.0)
            rows.append(
                [
                    f"suggest, {count:,} a call: p50 {seen.p50_ms:.1f} ms", "",
                    f"{1000 * count / seen.p50_ms:,.0f}",
                ]
            )  # fmt: skip
    services.close()
    return report.table([f"at {size:,} rows", "s", "rows/s"], rows)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

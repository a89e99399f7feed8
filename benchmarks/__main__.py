"""`python -m benchmarks [name [arguments]]`: one benchmark, or all but the longest."""

from __future__ import annotations

import csv
import datetime as dt
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks import report
from local.demo import sample
from local.servers.temporary import postgres

# Each writes its part of docs/performance.md.
PUBLISHED = {
    "serving": "benchmarks.serving.__main__",
    "phases": "benchmarks.phases",
    "suggest": "benchmarks.suggest.calls",
    "training": "benchmarks.training",
    "jobs": "benchmarks.jobs",
    "scale": "benchmarks.scale",
}
# These read a file of statements, made up if none is named, and get these arguments then.
WITH_FILE = {"features": "benchmarks.features", "ingest": "benchmarks.ingest"}
MADE_UP_ARGUMENTS = {"features": ["--made-up"]}
# These run in new processes: the folder of the metrics is chosen when they are imported.
PRINTED = {"scrape": "benchmarks.scrape", "drift": "benchmarks.drift"}
LONG = "scale"
COPIES = 20  # of the sample statements, each for other two years: about 125,000 rows


def main(argv: list[str]) -> int:
    modules = {**WITH_FILE, **PUBLISHED, **PRINTED}
    names = argv[:1] or [name for name in modules if name != LONG]
    if unknown := set(names) - set(modules):
        print(f"no benchmark {unknown.pop()!r}; there are {', '.join(modules)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"\n{name}", flush=True)
        if failed := _run(name, modules[name], argv[1:]):
            return failed
    print()
    for figure in report.missed:
        print(f"misses its aim: {figure}")
    if not argv:
        print(
            f"{LONG} was left out: it needs 15 GB of disk and about an hour. Run it by "
            f"make bench BENCH={LONG}"
        )
    return 0


def _run(name: str, module: str, argv: list[str]) -> int:
    if name in PRINTED:
        return subprocess.run([sys.executable, "-m", module, *argv]).returncode
    run: Callable[[list[str]], int] = import_module(module).main
    return _run_with_file(name, run, argv) if name in WITH_FILE else run(argv)


def _run_with_file(name: str, run: Callable[[list[str]], int], argv: list[str]) -> int:
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = server.url
        os.environ.setdefault("REDIS_URL", "redis://unused")
        if argv:
            return run(argv)
        return run(
            [
                str(write_statements(Path(folder) / "statements.csv")),
                *MADE_UP_ARGUMENTS.get(name, ()),
            ]
        )


def write_statements(path: Path) -> Path:
    """Write COPIES times the sample statements into one file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(sample.Row._fields)
        for copy in range(COPIES):
            writer.writerows(sample.generate(dt.date(2026 - 2 * copy, 1, 1)))
    return path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

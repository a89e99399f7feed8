"""`python -m benchmarks [name [arguments]]`: one benchmark, or all but the longest."""

from __future__ import annotations

import csv
import datetime as dt
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from local import sample
from local.servers import postgres

# Each writes its part of docs/performance.md.
WRITTEN = {
    "serving": "benchmarks.serving.__main__",
    "phases": "benchmarks.phases",
    "suggest": "benchmarks.suggest.calls",
    "training": "benchmarks.training",
    "jobs": "benchmarks.jobs",
    "scale": "benchmarks.scale",
}
# Of a file of statements, made up if none is named; printed only.
OF_A_FILE = {"features": "benchmarks.features", "ingest": "benchmarks.ingest"}
LONG = "scale"
COPIES = 20  # of the sample statements, each of two years of its own: about 125,000 rows


def main(argv: list[str]) -> int:
    known = {**OF_A_FILE, **WRITTEN}
    names = argv[:1] or [name for name in known if name != LONG]
    if unknown := set(names) - set(known):
        print(f"no benchmark {unknown.pop()!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names:
        run: Callable[[list[str]], int] = import_module(known[name]).main
        print(f"\n{name}", flush=True)
        if failed := _of_a_file(run, argv[1:]) if name in OF_A_FILE else run(argv[1:]):
            return failed
    return 0


def _of_a_file(run: Callable[[list[str]], int], argv: list[str]) -> int:
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = server.url
        os.environ.setdefault("REDIS_URL", "redis://unused")
        return run(argv or [str(_statements(Path(folder) / "statements.csv"))])


def _statements(path: Path) -> Path:
    """Made-up statements, in quantity."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(sample.Row._fields)
        for copy in range(COPIES):
            writer.writerows(sample.generate(dt.date(2026 - 2 * copy, 1, 1)))
    return path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""`python -m benchmarks [name [file]]`: one benchmark or all, on a server of their own."""

from __future__ import annotations

import csv
import datetime as dt
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import features, ingest
from local import sample
from local.servers import postgres

BENCHMARKS = {"features": features.main, "ingest": ingest.main}
COPIES = 20  # of the sample statements, each of two years of its own: about 125,000 rows


def main(argv: list[str]) -> int:
    names = [argv[0]] if argv else list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        print(f"no benchmark {unknown.pop()!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        os.environ["DATABASE_URL"] = server.url
        os.environ.setdefault("REDIS_URL", "redis://unused")
        file = argv[1] if len(argv) > 1 else str(_statements(Path(folder) / "statements.csv"))
        return max([_run(name, file) for name in names])


def _run(name: str, file: str) -> int:
    print(f"\n{name}: {Path(file).name}", flush=True)
    return BENCHMARKS[name]([file])


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

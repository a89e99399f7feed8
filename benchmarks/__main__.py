"""`python -m benchmarks [name]`: one benchmark or all of them, on a server of their own."""

from __future__ import annotations

import os
import sys

from benchmarks import features, ingest
from local.servers import postgres

BENCHMARKS = {"features": features.main, "ingest": ingest.main}


def main(argv: list[str]) -> int:
    name, *arguments = argv or [""]
    if name not in BENCHMARKS:
        print(f"usage: make bench BENCH=({'|'.join(BENCHMARKS)}) [ARGS=FILE]", file=sys.stderr)
        return 2
    with postgres() as server:
        os.environ["DATABASE_URL"] = server.url
        os.environ.setdefault("REDIS_URL", "redis://unused")
        return BENCHMARKS[name](arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

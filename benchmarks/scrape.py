"""Time of a scrape of /metrics with a long history, and of counting in shared files.

    python -m benchmarks.scrape

PostgreSQL has made-up suggestions and jobs; eight processes have counted, four of them are dead. A
scrape renders the text of /metrics, as the web process does.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Engine, text

from local.servers.temporary import postgres
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.registry.store import Registry
from shared.settings import Settings

SUGGESTIONS, JOBS, PROCESSES, SCRAPES, CALLS = 200_000, 20_000, 8, 30, 100_000
COUNTING = (
    "import sys\n"
    "from shared.monitoring import metrics\n"
    "for route in range(40):\n"
    "    metrics.HTTP_REQUESTS.labels(f'/ml/v2/{route}', '2xx').inc()\n"
    "    metrics.HTTP_REQUESTS.labels(f'/ml/v2/{route}', '5xx').inc()\n"
    "print('counted', flush=True)\n"
    "sys.stdin.read()\n"
)
FILL = (
    "INSERT INTO suggestions (id, user_id, merchant, label, confidence, source, layer, "
    "alternatives, reasons, arm, forced, answer, answered_at, created_at) "
    "SELECT md5(n::text), 'u' || n % 500, 'shop', 'Food', 0.9, 'model', 'model', '[]', '[]', "
    "(ARRAY['rules', 'model', 'challenger'])[1 + n % 3], false, "
    "(ARRAY['accept', 'correct', 'reject'])[1 + n % 3], now(), now() - n * interval '10 s' "
    f"FROM generate_series(1, {SUGGESTIONS}) AS n",
    "INSERT INTO jobs (id, kind, state, requested_by, created_at, started_at, finished_at, result) "
    "SELECT md5(n::text), (ARRAY['features', 'features_range', 'train'])[1 + n % 3], 'succeeded', "
    "'beat', now() - n * interval '1 h', now() - n * interval '59 min', "
    "now() - n * interval '58 min', '{\"val_f1_macro\": 0.9, \"deployed\": true}' "
    f"FROM generate_series(1, {JOBS}) AS n",
    "VACUUM ANALYZE",
)


def main(argv: Sequence[str] = ()) -> int:
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        counters = Path(folder) / "metrics"
        counters.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counters)
        settings = Settings.from_env({"DATABASE_URL": server.url, "REDIS_URL": "redis://unused"})
        engine = make_engine(settings.database_url)
        migrate(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in FILL:
                connection.execute(text(statement))
        processes = [_start_counting() for _ in range(PROCESSES)]
        for process in processes[::2]:
            process.kill()
            process.wait()
        try:
            _measure(engine, Registry(Path(folder) / "registry"))
        finally:
            for process in processes:
                process.kill()
                process.wait()
        engine.dispose()
    return 0


def _measure(engine: Engine, registry: Registry) -> None:
    from shared.monitoring import (  # not at the top: the import reads the folder
        database_collector,
        exposition,
        metrics,
    )

    collector = database_collector.DatabaseCollector(engine, registry)
    scrape = exposition.render(collector)
    print(f"{SUGGESTIONS:,} suggestions, {JOBS:,} jobs, {PROCESSES} processes")
    print(f"first scrape: {_ms(scrape):.1f} ms, {len(scrape()):,} bytes")
    for name, max_age, history_max_age in (
        ("nothing read", 60.0, 60.0),
        ("jobs read again", 0.0, 60.0),
        ("all read again", 0.0, 0.0),
    ):
        collector.MAX_AGE_S, collector.HISTORY_MAX_AGE_S = max_age, history_max_age
        times = sorted(_ms(scrape) for _ in range(SCRAPES))
        print(f"{name}: median {statistics.median(times):.1f} ms, longest {times[-1]:.1f} ms")
    started = time.perf_counter()
    for _ in range(CALLS):
        with metrics.time_phase("predict", "model"):
            pass
    each = (time.perf_counter() - started) / CALLS
    print(f"timing one phase: {1e6 * each:.2f} µs")


def _ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def _start_counting() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"counted\n"
    return process


if __name__ == "__main__":
    raise SystemExit(main())

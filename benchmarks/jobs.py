"""What the way through PostgreSQL, Redis and Celery adds to a job, and what a full queue costs.

    make bench BENCH=jobs

Servers, a web process and two workers of its own. A features job with nothing to do is asked for
while all is idle, again and again; then 1,000 of them at once, while predictions go on.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from benchmarks import report
from benchmarks.serving.__main__ import ASKED, prepared
from benchmarks.serving.running import Server, asked, running
from benchmarks.serving.targets import OURS, TARGETS, TOKEN
from local.servers.temporary import postgres, valkey
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.settings import Settings

IDLE = 30
QUEUED = 1_000
CLIENTS = 4
SECONDS = 4.0
PATIENCE_S = 180.0
_WAIT = text(
    "SELECT 1000 * extract(epoch FROM started_at - created_at)::float8 FROM jobs "
    "WHERE state = 'succeeded' ORDER BY created_at"
)
_STATES = text("SELECT state, count(*) FROM jobs WHERE state <> 'succeeded' GROUP BY state")
_FINAL = ("failed", "cancelled")


def main(argv: Sequence[str]) -> int:
    target = next(it for it in TARGETS if it.name == OURS)
    with postgres() as database, valkey() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {"DATABASE_URL": database.url, "REDIS_URL": broker.url}
        rows = prepared(folder)[:ASKED]
        requests = [target.one(row) for row in rows]
        more = {**env, "ML_REGISTRY_DIR": str(folder / "registry"), "API_AUTH": "off"}
        engine = make_engine(Settings.from_env(more).database_url)
        migrate(engine)
        with ExitStack() as stack:
            web = stack.enter_context(running(target, folder, **env))
            stack.enter_context(worker(folder, more))
            for _ in range(5):
                _asked_for(web, engine)
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM jobs"))
            for _ in range(IDLE):
                _asked_for(web, engine)
            with engine.connect() as connection:
                waits = sorted(connection.scalars(_WAIT))
            quiet = asked(web, requests, CLIENTS, SECONDS)[0]
            for _ in range(QUEUED):
                _post(web, "/ml/v2/features")
            began = time.perf_counter()
            busy = asked(web, requests, CLIENTS, SECONDS)[0]
            drained(engine)
            took = time.perf_counter() - began
        engine.dispose()
    report.put(
        "jobs",
        report.conditions("make bench BENCH=jobs"),
        f"From request to the start of the work, idle, {IDLE} times: p50 "
        f"{statistics.median(waits):.0f} ms, longest {waits[-1]:.0f} ms. {QUEUED:,} jobs that were "
        f"queued at once were all done {took:.0f} s after the last was asked for.",
        report.table(
            [f"predictions, {CLIENTS} connections", "requests", "failed", "p50 ms", "p99 ms"],
            [
                [
                    case, f"{it['requests']:,}", it["failed"], f"{it['p50_ms']:.2f}",
                    f"{it['p99_ms']:.2f}",
                ]
                for case, it in (("no jobs", quiet), (f"{QUEUED:,} jobs queued", busy))
            ],
        ),
    )  # fmt: skip
    return 0


@contextmanager
def worker(folder: Path, env: Mapping[str, str], queue: str = "features") -> Iterator[None]:
    """One worker with one process, as the local stack has it."""
    with (folder / "worker.log").open("ab") as log:
        options = ["-Q", queue, "-c", "1", "-n", f"{secrets.token_hex(4)}@%h", "--without-mingle"]
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "worker.app", "worker", *options],
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _post(web: Server, path: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{web.port}{path}",
        b"{}",
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.load(answer))


def _asked_for(web: Server, engine: Engine) -> None:
    _post(web, "/ml/v2/features")
    drained(engine)


def drained(engine: Engine, within_s: float = PATIENCE_S) -> None:
    """Wait until all jobs have succeeded.

    Raises:
        RuntimeError: one failed, or not in time.
    """
    until = time.perf_counter() + within_s
    while time.perf_counter() < until:
        with engine.connect() as connection:
            left = {str(state): count for state, count in connection.execute(_STATES)}
        if not left:
            return
        if lost := {state: left[state] for state in _FINAL if state in left}:
            raise RuntimeError(f"not all jobs succeeded: {lost}")
        time.sleep(0.02)
    raise RuntimeError("the jobs did not end")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

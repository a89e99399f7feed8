"""Delay from request to start of a job, and latency of predictions while 1,000 jobs are queued.

    make bench BENCH=jobs

Runs temporary servers, a web process and a worker. A features job without work is requested
repeatedly while all is idle; then 1,000 of them at once, beside predictions.
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
from benchmarks.serving.__main__ import SINGLE_ROWS, prepare
from benchmarks.serving.running import Server, running, send
from benchmarks.serving.targets import OURS, TARGETS, TOKEN
from local.servers.temporary import postgres, valkey
from shared.db.engine import make_engine
from shared.db.migrate import migrate
from shared.settings import Settings

IDLE = 30
QUEUED = 1_000
CLIENTS = 4
SECONDS = 4.0
DRAIN_TIMEOUT_S = 180.0
_WAIT = text(
    "SELECT 1000 * extract(epoch FROM started_at - created_at)::float8 FROM jobs "
    "WHERE state = 'succeeded' ORDER BY created_at"
)
_UNFINISHED = text("SELECT state, count(*) FROM jobs WHERE state <> 'succeeded' GROUP BY state")
_FINAL = ("failed", "cancelled")


def main(argv: Sequence[str]) -> int:
    target = next(target for target in TARGETS if target.name == OURS)
    with postgres() as database, valkey() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {"DATABASE_URL": database.url, "REDIS_URL": broker.url}
        rows = prepare(folder)[:SINGLE_ROWS]
        requests = [target.one(row) for row in rows]
        worker_env = {**env, "ML_REGISTRY_DIR": str(folder / "registry"), "API_AUTH": "off"}
        engine = make_engine(Settings.from_env(worker_env).database_url)
        migrate(engine)
        with ExitStack() as stack:
            web = stack.enter_context(running(target, folder, env=env))
            stack.enter_context(worker(folder, worker_env))
            for _ in range(5):
                _run_job(web, engine)
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM jobs"))
            for _ in range(IDLE):
                _run_job(web, engine)
            with engine.connect() as connection:
                waits = sorted(connection.scalars(_WAIT))
            quiet = send(web, requests, CLIENTS, SECONDS)[0]
            for _ in range(QUEUED):
                _post(web, "/ml/v2/features")
            began = time.perf_counter()
            busy = send(web, requests, CLIENTS, SECONDS)[0]
            wait_for_jobs(engine)
            took = time.perf_counter() - began
        engine.dispose()
    report.publish(
        "jobs",
        report.conditions("make bench BENCH=jobs"),
        f"From request to the start of the work, idle, {IDLE} times: p50 "
        f"{statistics.median(waits):.0f} ms, longest {waits[-1]:.0f} ms. {QUEUED:,} jobs that were "
        f"queued at once were all done {took:.0f} s after the last was asked for.",
        report.table(
            [f"predictions, {CLIENTS} connections", "requests", "failed", "p50 ms", "p99 ms"],
            [
                [
                    case, f"{seen['requests']:,}", seen["failed"], f"{seen['p50_ms']:.2f}",
                    f"{seen['p99_ms']:.2f}",
                ]
                for case, seen in (("no jobs", quiet), (f"{QUEUED:,} jobs queued", busy))
            ],
        ),
    )  # fmt: skip
    return 0


@contextmanager
def worker(folder: Path, env: Mapping[str, str], queue: str = "features") -> Iterator[None]:
    """Run a worker with one process, as the local stack does."""
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
    with urllib.request.urlopen(request, timeout=30) as response:
        return dict(json.load(response))


def _run_job(web: Server, engine: Engine) -> None:
    _post(web, "/ml/v2/features")
    wait_for_jobs(engine)


def wait_for_jobs(engine: Engine, within_s: float = DRAIN_TIMEOUT_S) -> None:
    """Wait until all jobs have succeeded.

    Raises:
        RuntimeError: a job failed, or the time is over.
    """
    until = time.perf_counter() + within_s
    while time.perf_counter() < until:
        with engine.connect() as connection:
            left = {str(state): count for state, count in connection.execute(_UNFINISHED)}
        if not left:
            return
        if failed := {state: left[state] for state in _FINAL if state in left}:
            raise RuntimeError(f"not all jobs succeeded: {failed}")
        time.sleep(0.02)
    raise RuntimeError("the jobs did not end")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""What an answer costs: our web process, its floors and a peer, side by side on one machine.

    OMP_NUM_THREADS=1 python -m benchmarks.serving [--seconds 4] [--rounds 5]

Each server is one process on one core, the clients have the other one; servers take turns, and of
the rounds the median counts. All are sent the same few hundred transactions, one after the other.
CPU is user and system time of the server's processes by request, which a busy machine moves least.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import psutil

from benchmarks.serving import plain
from local import sample
from local.commands import free_port
from shared.features import RawTransaction, features_of
from shared.registry import Registry
from worker import learner

THREADS = 4
TOKEN = "benchmark-token-0123456789"
ASKED = 300
BATCH = 1_000
SERVER_CORE, CLIENT_CORE = 0, 1
TRAIN_SHARE = 0.8
PIPELINE = "pipeline.joblib"
OURS, PEER = "ours", "Flask + scikit-learn"
_OTHER = ("benchmarks.serving.server",)
COMMANDS = {
    OURS: ("web",),
    "empty Flask view": (*_OTHER, "benchmarks.serving.floors:flask"),
    "bare WSGI": (*_OTHER, "benchmarks.serving.floors:wsgi"),
    PEER: (*_OTHER, "benchmarks.serving.plain:app"),
}


class Server(NamedTuple):
    """A running server, and how long it took until its first answer."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    start_s: float

    def cpu_s(self) -> float:
        times = [one.cpu_times() for one in self._all()]
        return sum(it.user + it.system for it in times)

    def memory_mb(self) -> float:
        return sum(one.memory_full_info().pss for one in self._all()) / 1e6

    def _all(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]


def main(argv: Sequence[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--rounds", type=int, default=5)
    wanted = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        later = _prepared(Path(folder))
        servers = [
            stack.enter_context(_running(name, command, Path(folder)))
            for name, command in COMMANDS.items()
        ]
        for server in servers:
            print(f"{server.name}: first answer after {server.start_s:.2f} s", flush=True)
        _compare(servers, later, wanted.seconds, wanted.rounds)
    return 0


def _prepared(folder: Path) -> list[dict[str, Any]]:
    """Our model live in a registry, the peer's in a file; what is asked of both."""
    statements = sorted(sample.generate(dt.date(2026, 1, 1)), key=lambda row: row.date)
    cut = int(len(statements) * TRAIN_SHARE)
    learned = [row for row in statements[:cut] if row.label]
    labels = [row.label for row in learned]
    raw = [
        RawTransaction(merchant=row.merchant, description=None, amount=-row.amount, date=row.date)
        for row in learned
    ]
    model = learner.fit([features_of(txn) for txn in raw], labels)
    registry = Registry(folder / "registry")
    meta = {
        "val_f1_macro": 0.0,
        "val_accuracy": 0.0,
        "gate": {"passed": True, "reason": "for a benchmark"},
        "trained_through": f"{learned[-1].date}T00:00:00+00:00",
    }
    version = registry.save(model.to_files(), meta)
    registry.deploy(version.run_id, by="benchmark", why="a benchmark")
    joblib.dump(plain.trained(list(map(_as_json, learned)), labels), folder / PIPELINE)
    print(f"{len(learned):,} rows learned, {len(model.labels)} categories", flush=True)
    return list(map(_as_json, statements[cut:]))


def _as_json(row: sample.Row) -> dict[str, Any]:
    amount, date = float(-row.amount), row.date.isoformat()
    return {"merchant": row.merchant, "amount": amount, "date": date}


@contextmanager
def _running(name: str, command: Sequence[str], folder: Path) -> Iterator[Server]:
    port = free_port()
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WEB_PORT": str(port),
        "WEB_PROCESSES": "1",
        "WEB_THREADS": str(THREADS),
        "API_TOKENS": f"predict:{TOKEN}",
        "ML_REGISTRY_DIR": str(folder / "registry"),
        plain.FILE: str(folder / PIPELINE),
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",  # a prediction asks for neither
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    started = time.perf_counter()
    log = (folder / "server.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=env, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip
    os.sched_setaffinity(process.pid, {SERVER_CORE})
    body = _request("/ml/v2/predict", {"merchant": "X", "amount": -1.0, "date": "2026-01-01"})
    try:
        while not _answers(port, body):
            if process.poll() is not None:
                raise RuntimeError(f"{name} did not start: see {folder}/server.log")
            time.sleep(0.02)
        yield Server(name, port, process, time.perf_counter() - started)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


def _answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(request)
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def _request(path: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _asked(server: Server, requests: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    """What the clients saw, and the server's CPU time by request."""
    lines = "\n".join(json.dumps(it.decode()) for it in requests)
    before = server.cpu_s()
    command = ["benchmarks.serving.client", str(server.port), str(clients), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
    )
    found: dict[str, float] = json.loads(done.stdout)
    if found["failed"]:
        raise RuntimeError(f"{server.name}: {found['failed']} of {found['requests']} failed")
    found["cpu_us"] = 1e6 * (server.cpu_s() - before) / found["requests"]
    found["per_s"] = found["requests"] / found["seconds"]
    return found


def _compare(
    servers: list[Server], later: list[dict[str, Any]], seconds: float, rounds: int
) -> None:
    single = [_request("/ml/v2/predict", it) for it in later[:ASKED]]
    batch = [_request("/ml/v2/predict/batch", {"rows": (later * 2)[:BATCH]})]
    seen: defaultdict[tuple[str, str], list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for server in servers:
            for clients in (1, 32):
                seen[server.name, f"c={clients}"].append(_asked(server, single, clients, seconds))
            if server.name in (OURS, PEER):
                seen[server.name, "batch"].append(_asked(server, batch, 1, seconds))
    print("| server | case | p50 ms | p99 ms | requests/s | CPU µs/request |")
    print("|---|---|---|---|---|---|")
    for (name, case), found in seen.items():
        mid = {key: statistics.median(it[key] for it in found) for key in found[0]}
        print(
            f"| {name} | {case} | {mid['p50_ms']:.2f} | {mid['p99_ms']:.2f} "
            f"| {mid['per_s']:,.0f} | {mid['cpu_us']:,.0f} |"
        )
    for server in servers:
        print(f"{server.name}: {server.memory_mb():.0f} MB of memory (PSS)")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

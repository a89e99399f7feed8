"""Starts servers, asks them, and reads what that took."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.serving import plain
from benchmarks.serving.targets import PIPELINE, TOKEN, Row, Target
from local.servers.commands import free_port

THREADS = 4
SERVER_CORE, CLIENT_CORE = 0, 1
START_S = 60.0
PROBE: Row = {"merchant": "X", "amount": -1.0, "date": "2026-01-01"}
_BUSY = "while True: sum(range(1000))"


class Seen(NamedTuple):
    """What the clients of one run saw, and the server's CPU time by request."""

    p50_ms: float
    p99_ms: float
    per_s: float
    cpu_us: float

    @classmethod
    def median(cls, several: Sequence[Seen]) -> Seen:
        """Of each figure its own."""
        return cls._make(map(statistics.median, zip(*several, strict=True)))


class Server(NamedTuple):
    """A running server, and how long it took until its first answer."""

    target: Target
    port: int
    process: subprocess.Popen[bytes]
    start_s: float

    def cpu_s(self) -> float:
        """User and system time of all its processes."""
        times = [one.cpu_times() for one in self.processes()]
        return sum(it.user + it.system for it in times)

    def memory_mb(self) -> float:
        """Proportional set size: what is shared counts for each of its sharers in part."""
        return sum(one.memory_full_info().pss for one in self.processes()) / 1e6

    def processes(self) -> list[psutil.Process]:
        """Its own and those that it started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def asked(self, requests: list[bytes], clients: int, seconds: float) -> Seen:
        """What so many clients see for so long.

        Raises:
            RuntimeError: a request failed.
        """
        found, cpu_s = asked(self, requests, clients, seconds)
        if found["failed"]:
            name = self.target.name
            raise RuntimeError(f"{name}: {found['failed']} of {found['requests']} failed")
        return Seen(
            found["p50_ms"],
            found["p99_ms"],
            found["requests"] / found["seconds"],
            1e6 * cpu_s / found["requests"],
        )


def asked(
    server: Server, requests: list[bytes], clients: int, seconds: float, rate: float | None = None
) -> tuple[dict[str, Any], float]:
    """What the clients' process prints, see client.py, and the server's CPU time."""
    lines = "\n".join(json.dumps(it.decode()) for it in requests)
    before = server.cpu_s()
    command = ["benchmarks.serving.client", str(server.port), str(clients), str(seconds)]
    command += [str(rate)] if rate else []
    done = subprocess.run(
        [sys.executable, "-m", *command],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found, server.cpu_s() - before


@contextmanager
def running(
    target: Target,
    folder: Path,
    *,
    processes: int = 1,
    cores: Collection[int] = (SERVER_CORE,),
    **more: str,
) -> Iterator[Server]:
    """The server on one core, ready to answer; it is killed at the end.

    Args:
        folder: where the models are.
        processes: of our own server.
        cores: that it may use.
        more: for its environment.
    """
    port = free_port()
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WEB_PORT": str(port),
        "WEB_PROCESSES": str(processes),
        "WEB_THREADS": str(THREADS),
        "API_TOKENS": f"admin:{TOKEN}",
        "ML_REGISTRY_DIR": str(folder / "registry"),
        plain.FILE: str(folder / PIPELINE),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",  # a prediction asks for neither
        "REDIS_URL": "redis://127.0.0.1:1/0",
        **more,
    }
    if not target.peer:
        env["PROMETHEUS_MULTIPROC_DIR"] = str(folder / f"metrics-{port}")
    command = list(target.command(folder, port))
    env["PATH"] = f"{Path(command[0]).parent}:{env['PATH']}"  # where a peer finds its own tools
    log = (folder / "server.log").open("ab")
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=env,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    try:
        while not _answers(port, target.one(PROBE)):
            if process.poll() is not None or time.perf_counter() - started > START_S:
                tail = (folder / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{target.name} did not start: {tail}")
            time.sleep(0.02)
        yield Server(target, port, process, time.perf_counter() - started)
    finally:
        with suppress(ProcessLookupError):
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


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """So many processes that compute all the time, on whatever core."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", _BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield

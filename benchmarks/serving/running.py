"""Starts servers, sends them requests, and measures latency, throughput, CPU and memory."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
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


class Measurement(NamedTuple):
    """Latency and throughput as the clients see them, and the server's CPU time a request."""

    p50_ms: float
    p99_ms: float
    per_s: float
    cpu_us: float

    @classmethod
    def median(cls, rounds: Sequence[Measurement]) -> Measurement:
        """The median of each figure."""
        return cls._make(map(statistics.median, zip(*rounds, strict=True)))


class Server(NamedTuple):
    """A running server, and the seconds from its start to its first response."""

    target: Target
    port: int
    process: subprocess.Popen[bytes]
    start_s: float

    def cpu_s(self) -> float:
        """User and system time of all its processes."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(each.user + each.system for each in times)

    def memory_mb(self) -> float:
        """Proportional set size: shared pages count in part for each process."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 1e6

    def processes(self) -> list[psutil.Process]:
        """The server's process and its children."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def measure(self, requests: list[bytes], clients: int, seconds: float) -> Measurement:
        """Send requests from several clients for some seconds.

        Raises:
            RuntimeError: a request failed.
        """
        result, cpu_s = send(self, requests, clients, seconds)
        if result["failed"]:
            name = self.target.name
            raise RuntimeError(f"{name}: {result['failed']} of {result['requests']} failed")
        return Measurement(
            result["p50_ms"],
            result["p99_ms"],
            result["requests"] / result["seconds"],
            1e6 * cpu_s / result["requests"],
        )


def send(
    server: Server, requests: list[bytes], clients: int, seconds: float, rate: float | None = None
) -> tuple[dict[str, Any], float]:
    """Run the clients; return what client.py prints, and the server's CPU seconds."""
    lines = "\n".join(json.dumps(request.decode()) for request in requests)
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
    result: dict[str, Any] = json.loads(done.stdout)
    return result, server.cpu_s() - before


@contextmanager
def running(
    target: Target,
    folder: Path,
    *,
    processes: int = 1,
    cores: Collection[int] = (SERVER_CORE,),
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Start a server and wait until it answers; it is killed at the end.

    Args:
        folder: holds the models.
        processes: the number of web processes of our own server.
        cores: the cores that it may use.
        env: more variables for its environment.
    """
    port = free_port()
    whole_env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "WEB_PORT": str(port),
        "WEB_PROCESSES": str(processes),
        "WEB_THREADS": str(THREADS),
        "API_TOKENS": f"admin:{TOKEN}",
        "ML_REGISTRY_DIR": str(folder / "registry"),
        plain.FILE: str(folder / PIPELINE),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",  # predictions need neither
        "REDIS_URL": "redis://127.0.0.1:1/0",
        **(env or {}),
    }
    if not target.peer:
        whole_env["PROMETHEUS_MULTIPROC_DIR"] = str(folder / f"metrics-{port}")
    command = list(target.command(folder, port))
    whole_env["PATH"] = f"{Path(command[0]).parent}:{whole_env['PATH']}"  # a peer's own tools
    log = (folder / "server.log").open("ab")
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=whole_env,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    try:
        while not _is_ready(port, target):
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


def _is_ready(port: int, target: Target) -> bool:
    """Whether a probe gets a response, for our server one from a model."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(target.one(PROBE))
            reply = connection.recv(1 << 16)
            if reply.endswith(b"\r\n\r\n"):  # the head alone
                reply += connection.recv(1 << 16)
            return target.ready in reply
    except OSError:
        return False


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """Processes that compute all the time, on any core."""
    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", _BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield

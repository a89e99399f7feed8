"""Latency of our web process during deployments, and its start time and memory."""

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import string
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

import psutil

from benchmarks import report
from benchmarks.serving.running import PROBE, THREADS, Server, running, send
from benchmarks.serving.targets import OURS, TARGETS, TOKEN, Row
from shared.registry.store import Registry

RATE = 500.0  # requests a second, about an eighth of the process's capacity
CLIENTS = 16
INTERVAL_S = 1.8  # between two deployments
WINDOW_S = 0.9  # after each: a process polls every 0.5 s, then loads for 0.1 to 0.3 s
DEPLOYS = 24
ROUNDS = 3
STARTS = 5
START_TIMEOUT_S = 60.0
NEW_TEXTS = 40_000  # for each process: more than its caches of texts hold
BATCH = 500

_OURS = next(target for target in TARGETS if target.name == OURS)
Span = tuple[float, float]


def under_load(folder: Path, rows: list[Row], deploys: int = DEPLOYS) -> str:
    """A table of latency and failures, without deployments and just after each of them."""
    registry = Registry(folder / "registry")
    live = registry.current()
    run_ids = [version.run_id for version in registry.versions()]
    # The live one last, so that the first deployment is of another one.
    versions = cycle(sorted(run_ids, key=lambda run_id: bool(live and run_id == live.run_id)))
    requests = [_OURS.one(row) for row in rows]
    groups: dict[str, _Windows] = {"quiet": _Windows(), "a deploy": _Windows()}
    count = max(deploys // ROUNDS, 1)
    with running(_OURS, folder) as server:
        send(server, requests, CLIENTS, INTERVAL_S, RATE)  # to warm up
        for _ in range(ROUNDS):
            for name, windows in groups.items():
                moments: list[float] = []

                def act(
                    starts: list[float] = moments, *, deploying: bool = name != "quiet"
                ) -> None:
                    for _ in range(count):
                        time.sleep(INTERVAL_S - WINDOW_S)
                        starts.append(time.perf_counter())
                        if deploying:
                            why = "a swap under load"
                            registry.deploy(next(versions), by="benchmark", why=why)
                        time.sleep(WINDOW_S)

                thread = threading.Thread(target=act)
                thread.start()
                result = send(server, requests, CLIENTS, count * INTERVAL_S + WINDOW_S, RATE)[0]
                thread.join()
                windows.add(result["spans"], int(result["failed"]), moments)
    rows_ = [windows.row(name) for name, windows in groups.items()]
    report.check_aim("requests that failed during deploys", groups["a deploy"].failed, at_most=0)
    ratio = groups["a deploy"].p99_s() / groups["quiet"].p99_s()
    report.check_aim("p99 within a deploy, by that of quiet moments", ratio, at_most=2)
    head = [f"{WINDOW_S} s of", "windows", "requests", "failed", "p50 ms", "p99 ms", "longest ms"]
    return report.table(head, rows_)


class _Windows:
    """Latencies of the requests that overlap a time window, of all windows of one kind."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.count = self.failed = 0

    def add(self, spans: Sequence[Span], failed: int, moments: Sequence[float]) -> None:
        """Add a run; its failures count inside and outside of windows."""
        self.count += len(moments)
        self.failed += failed
        for begin, end in spans:
            if any(begin < start + WINDOW_S and end > start for start in moments):
                self.latencies.append(end - begin)

    def p99_s(self) -> float:
        """The 99th percentile of the latency, in seconds."""
        return sorted(self.latencies)[int(len(self.latencies) * 0.99)]

    def row(self, name: str) -> list[object]:
        """A row of the table."""
        ordered = sorted(self.latencies)
        times = (ordered[len(ordered) // 2], self.p99_s(), ordered[-1])
        in_ms = [f"{1000 * seconds:.2f}" for seconds in times]
        return [name, self.count, f"{len(ordered):,}", self.failed, *in_ms]


class _Start(NamedTuple):
    """One start: seconds to the first prediction, and of every process, and memory in MB."""

    first_s: float
    every_s: float
    rss_mb: float
    pss_mb: float
    parent_mb: float


def start_and_memory(folder: Path, rows: list[Row], starts: int = STARTS) -> str:
    """A table of start times, on all cores as in use, and of the memory of each process."""
    table = []
    for processes in (1, 2, 4):
        measured = []
        for _ in range(starts):
            cores = os.sched_getaffinity(0)
            with running(_OURS, folder, processes=processes, cores=cores) as server:
                every_s = server.start_s + _wait_for_every_process(server, processes)
                send(server, [_OURS.one(row) for row in rows], 4 * processes * THREADS, 1.0)
                parent, *web = (it.memory_full_info() for it in server.processes())
                rss, pss = statistics.median(it.rss for it in web), sum(it.pss for it in web)
                mb = [it / 1e6 for it in (rss, pss / processes, parent.pss)]
                measured.append(_Start(server.start_s, every_s, *mb))
                if len(measured) == starts:
                    _send_new_texts(server, processes)
                    largest = max(it.memory_info().rss for it in server.processes()[1:])
        first_s, every_s, *mbs = map(statistics.median, zip(*measured, strict=True))
        mbs.append(largest / 1e6)
        table.append([processes, f"{first_s:.2f}", f"{every_s:.2f}", *(f"{it:.0f}" for it in mbs)])
    head = [
        "web processes", "first prediction s", "one of each process s", "RSS of each MB",
        "PSS of each MB", "parent MB", f"RSS after {NEW_TEXTS:,} new texts MB",
    ]  # fmt: skip
    return report.table(head, table)


def _send_new_texts(server: Server, processes: int) -> None:
    """Send NEW_TEXTS merchants and descriptions for each process, all of them new.

    Each batch has a new connection, many at a time, so that every process gets its part.
    """

    def send_batch(number: int) -> None:
        draw = random.Random(number)

        def word(size: int) -> str:
            return "".join(draw.choices(string.ascii_letters + string.digits, k=size))

        rows = [
            {
                "merchant": f"{word(20)} {word(6)}",
                "description": f"{word(12)} {word(12)} {word(12)} {word(6)}",
                "amount": -1.5,
            }
            for _ in range(BATCH)
        ]
        request = Request(
            f"http://127.0.0.1:{server.port}/ml/v2/predict/batch",
            json.dumps({"rows": rows}).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=60) as answer:
            answer.read()

    with ThreadPoolExecutor(4 * processes) as pool:
        for _ in pool.map(send_batch, range(processes * NEW_TEXTS // BATCH)):
            pass


def _wait_for_every_process(server: Server, processes: int) -> float:
    """Seconds until each process has answered a prediction, each over a new connection.

    The owner of the other end of the socket tells which process answered. Some connections wait
    for a process that is not ready yet, so several are open at once.

    Raises:
        RuntimeError: some process did not answer in time.
    """
    if processes == 1:
        return 0.0
    started, answered = time.perf_counter(), set[int]()
    open_: list[socket.socket] = []
    try:
        while time.perf_counter() - started < START_TIMEOUT_S:
            connection = socket.create_connection(
                ("127.0.0.1", server.port), timeout=START_TIMEOUT_S
            )
            connection.sendall(_OURS.one(PROBE))
            connection.setblocking(False)
            open_.append(connection)
            time.sleep(0.02)
            for each in list(open_):
                with suppress(BlockingIOError):
                    if each.recv(1 << 16).startswith(b"HTTP/1.1 200"):
                        answered.update(_owners(server, each.getsockname()[1]))
                    each.close()
                    open_.remove(each)
            if len(answered) >= processes:
                return time.perf_counter() - started
    finally:
        for each in open_:
            each.close()
    raise RuntimeError(f"{len(answered)} of {processes} processes answered")


def _owners(server: Server, port: int) -> set[int]:
    """The server's processes with a connection to this client port."""
    return {
        process.pid
        for process in server.processes()[1:]
        for it in process.net_connections("tcp")
        if it.status == psutil.CONN_ESTABLISHED and it.raddr and it.raddr.port == port
    }

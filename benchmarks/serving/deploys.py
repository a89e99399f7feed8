"""Our web process while versions are swapped under it, and what it needs at its start."""

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
from benchmarks.serving.running import PROBE, THREADS, Server, asked, running
from benchmarks.serving.targets import OURS, TARGETS, TOKEN, Row
from shared.registry.store import Registry

RATE = 500.0  # requests a second, about an eighth of what the process can do
CLIENTS = 16
EACH_S = 1.8  # between two deploys
WINDOW_S = 0.9  # after each: a process looks every 0.5 s, and then loads for 0.1 to 0.3 s
DEPLOYS = 24
ROUNDS = 3
STARTS = 5
PATIENCE_S = 60.0
NEW_TEXTS = 40_000  # for each process; what it keeps of texts is full long before
BATCH = 500

_OURS = next(target for target in TARGETS if target.name == OURS)
Span = tuple[float, float]


def under_load(folder: Path, rows: list[Row], deploys: int = DEPLOYS) -> str:
    """Latency and failures while nothing happens, and within a moment of each deploy."""
    registry = Registry(folder / "registry")
    live = registry.current()
    known = [version.run_id for version in registry.versions()]
    # The live one last: the first deploy, too, is of another.
    versions = cycle(sorted(known, key=lambda run_id: bool(live and run_id == live.run_id)))
    requests = [_OURS.one(row) for row in rows]
    seen: dict[str, _Windows] = {"quiet": _Windows(), "a deploy": _Windows()}
    count = max(deploys // ROUNDS, 1)
    with running(_OURS, folder) as server:
        asked(server, requests, CLIENTS, EACH_S, RATE)  # what is cold is not counted
        for _ in range(ROUNDS):
            for name, windows in seen.items():
                moments: list[float] = []

                def act(at: list[float] = moments, *, deploying: bool = name != "quiet") -> None:
                    for _ in range(count):
                        time.sleep(EACH_S - WINDOW_S)
                        at.append(time.perf_counter())
                        if deploying:
                            why = "a swap under load"
                            registry.deploy(next(versions), by="benchmark", why=why)
                        time.sleep(WINDOW_S)

                thread = threading.Thread(target=act)
                thread.start()
                found = asked(server, requests, CLIENTS, count * EACH_S + WINDOW_S, RATE)[0]
                thread.join()
                windows.add(found["spans"], int(found["failed"]), moments)
    lines = [windows.told(name) for name, windows in seen.items()]
    report.aimed("requests that failed during deploys", seen["a deploy"].failed, at_most=0)
    apart = seen["a deploy"].p99_s() / seen["quiet"].p99_s()
    report.aimed("p99 within a deploy, by that of quiet moments", apart, at_most=2)
    head = [f"{WINDOW_S} s of", "windows", "requests", "failed", "p50 ms", "p99 ms", "longest ms"]
    return report.table(head, lines)


class _Windows:
    """The requests that overlap a window, of all windows of one kind."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.count = self.failed = 0

    def add(self, spans: Sequence[Span], failed: int, moments: Sequence[float]) -> None:
        """Failures count wherever they fell."""
        self.count += len(moments)
        self.failed += failed
        for begin, end in spans:
            if any(begin < at + WINDOW_S and end > at for at in moments):
                self.took.append(end - begin)

    def p99_s(self) -> float:
        """The time that one in a hundred takes, or longer."""
        return sorted(self.took)[int(len(self.took) * 0.99)]

    def told(self, name: str) -> list[object]:
        """A line of the table."""
        took = sorted(self.took)
        at = (took[len(took) // 2], self.p99_s(), took[-1])
        return [name, self.count, f"{len(took):,}", self.failed, *(f"{1000 * it:.2f}" for it in at)]


class _Start(NamedTuple):
    """Of one start: seconds from it, and MB."""

    first_s: float
    every_s: float
    rss_mb: float
    pss_mb: float
    parent_mb: float


def start_and_memory(folder: Path, rows: list[Row], starts: int = STARTS) -> str:
    """Time to the predictions, on all cores as a service starts, and memory of each process."""
    lines = []
    for processes in (1, 2, 4):
        found = []
        for _ in range(starts):
            cores = os.sched_getaffinity(0)
            with running(_OURS, folder, processes=processes, cores=cores) as server:
                every_s = server.start_s + _until_each_has_answered(server, processes)
                asked(server, [_OURS.one(row) for row in rows], 4 * processes * THREADS, 1.0)
                parent, *web = (it.memory_full_info() for it in server.processes())
                rss, pss = statistics.median(it.rss for it in web), sum(it.pss for it in web)
                mb = [it / 1e6 for it in (rss, pss / processes, parent.pss)]
                found.append(_Start(server.start_s, every_s, *mb))
                if len(found) == starts:
                    _ask_of_new_texts(server, processes)
                    largest = max(it.memory_info().rss for it in server.processes()[1:])
        first_s, every_s, *mbs = map(statistics.median, zip(*found, strict=True))
        mbs.append(largest / 1e6)
        lines.append([processes, f"{first_s:.2f}", f"{every_s:.2f}", *(f"{it:.0f}" for it in mbs)])
    head = [
        "web processes", "first prediction s", "one of each process s", "RSS of each MB",
        "PSS of each MB", "parent MB", f"RSS after {NEW_TEXTS:,} new texts MB",
    ]  # fmt: skip
    return report.table(head, lines)


def _ask_of_new_texts(server: Server, processes: int) -> None:
    """NEW_TEXTS merchants and descriptions a process that none has read before.

    A connection for each batch, many at a time, so that every process gets its part.
    """

    def ask(number: int) -> None:
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
        for _ in pool.map(ask, range(processes * NEW_TEXTS // BATCH)):
            pass


def _until_each_has_answered(server: Server, processes: int) -> float:
    """Seconds until predictions have come from so many processes; a new connection for each.

    Which one answered is seen by whose socket has the other end. Some connections wait for a
    process that is not ready yet, so several are open at once.

    Raises:
        RuntimeError: not in time.
    """
    if processes == 1:
        return 0.0
    started, heard = time.perf_counter(), set[int]()
    open_: list[socket.socket] = []
    try:
        while time.perf_counter() - started < PATIENCE_S:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
            connection.sendall(_OURS.one(PROBE))
            connection.setblocking(False)
            open_.append(connection)
            time.sleep(0.02)
            for each in list(open_):
                with suppress(BlockingIOError):
                    if each.recv(1 << 16).startswith(b"HTTP/1.1 200"):
                        heard.update(_owners(server, each.getsockname()[1]))
                    each.close()
                    open_.remove(each)
            if len(heard) >= processes:
                return time.perf_counter() - started
    finally:
        for each in open_:
            each.close()
    raise RuntimeError(f"{len(heard)} of {processes} processes answered")


def _owners(server: Server, port: int) -> set[int]:
    """The processes of the server that have a connection to that port of ours."""
    return {
        process.pid
        for process in server.processes()[1:]
        for it in process.net_connections("tcp")
        if it.status == psutil.CONN_ESTABLISHED and it.raddr and it.raddr.port == port
    }

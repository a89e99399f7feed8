"""Our web process while versions are swapped under it, and what it needs at its start."""

from __future__ import annotations

import json
import random
import statistics
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks import report
from benchmarks.serving.running import THREADS, Server, asked, running
from benchmarks.serving.targets import OURS, TARGETS, TOKEN, Row
from shared.registry import Registry

CLIENTS = 4
EACH_S = 1.0  # between two deploys
ROUNDS = 3
STARTS = 3
NEW_TEXTS = 40_000  # for each process; what it keeps of texts is full long before
BATCH = 500

_OURS = next(target for target in TARGETS if target.name == OURS)


def under_load(folder: Path, rows: list[Row], seconds: float) -> str:
    """Latency and failures while nothing happens, and while a deploy follows another."""
    registry = Registry(folder / "registry")
    versions = cycle([version.run_id for version in registry.versions()])
    requests = [_OURS.one(row) for row in rows]
    quiet, swapping, deploys = [], [], 0
    with running(_OURS, folder) as server:
        for _ in range(ROUNDS):
            quiet.append(asked(server, requests, CLIENTS, seconds)[0])
            over = threading.Event()

            def deploy(over: threading.Event = over) -> None:
                nonlocal deploys
                while not over.wait(EACH_S):
                    registry.deploy(next(versions), by="benchmark", why="a swap under load")
                    deploys += 1

            thread = threading.Thread(target=deploy)
            thread.start()
            swapping.append(asked(server, requests, CLIENTS, seconds)[0])
            over.set()
            thread.join()
    lines = []
    for name, found in (("quiet", quiet), (f"{deploys} deploys", swapping)):
        mid = {key: statistics.median(it[key] for it in found) for key in ("p50_ms", "p99_ms")}
        total, failed = (sum(int(it[key]) for it in found) for key in ("requests", "failed"))
        lines.append([name, f"{total:,}", failed, f"{mid['p50_ms']:.2f}", f"{mid['p99_ms']:.2f}"])
    return report.table([f"{CLIENTS} connections", "requests", "failed", "p50 ms", "p99 ms"], lines)


def start_and_memory(folder: Path, rows: list[Row]) -> str:
    """Time to the first prediction, and memory by the number of processes."""
    lines = []
    for processes in (1, 2, 4):
        starts, memory = [], []
        after_new = 0.0
        for last in (*[False] * (STARTS - 1), True):
            with running(_OURS, folder, processes=processes) as server:
                asked(server, [_OURS.one(row) for row in rows], 4 * processes * THREADS, 1.0)
                starts.append(server.start_s)
                parent, *web = server.processes()
                memory.append([it.memory_full_info() for it in (parent, *web)])
                if last:
                    _ask_of_new_texts(server, processes)
                    after_new = max(it.memory_info().rss for it in web)
        mid = memory[len(memory) // 2]
        pss = sum(it.pss for it in mid[1:]) / processes / 1e6
        lines.append(
            [
                processes,
                f"{statistics.median(starts):.2f}",
                f"{statistics.median(it.rss for it in mid[1:]) / 1e6:.0f}",
                f"{after_new / 1e6:.0f}",
                f"{pss:.0f}",
                f"{mid[0].pss / 1e6:.0f}",
            ]
        )
    columns = [
        "web processes", "first prediction s", "RSS of each MB",
        f"MB after {NEW_TEXTS:,} new texts", "PSS of each MB", "parent MB",
    ]  # fmt: skip
    return report.table(columns, lines)


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

"""Our web process while versions are swapped under it, and what it needs at its start."""

from __future__ import annotations

import statistics
import threading
from itertools import cycle
from pathlib import Path

from benchmarks import report
from benchmarks.serving.running import THREADS, asked, running
from benchmarks.serving.targets import OURS, TARGETS, Row
from shared.registry import Registry

CLIENTS = 4
EACH_S = 1.0  # between two deploys
ROUNDS = 3
STARTS = 3

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
        for _ in range(STARTS):
            with running(_OURS, folder, processes=processes) as server:
                asked(server, [_OURS.one(row) for row in rows], 4 * processes * THREADS, 1.0)
                starts.append(server.start_s)
                parent, *web = server.processes()
                memory.append([it.memory_full_info() for it in (parent, *web)])
        mid = memory[len(memory) // 2]
        pss = sum(it.pss for it in mid[1:]) / processes / 1e6
        lines.append(
            [
                processes,
                f"{statistics.median(starts):.2f}",
                f"{statistics.median(it.rss for it in mid[1:]) / 1e6:.0f}",
                f"{pss:.0f}",
                f"{mid[0].pss / 1e6:.0f}",
            ]
        )
    return report.table(
        ["web processes", "first prediction s", "RSS of each MB", "PSS of each MB", "parent MB"],
        lines,
    )

"""What a piece of work costs: time, processor time and memory, in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Runner = Callable[..., Any]  # calls its first argument with the others

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # see proc_pid_clear_refs(5)


@dataclass(slots=True)
class Cost:
    """Filled in when the work is done."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0  # resident memory of the whole process at its highest, in 2**20 bytes


@contextmanager
def measured() -> Iterator[Cost]:
    """What the body costs.

    The peak is that of the body alone where the kernel can forget an earlier one, as Linux does;
    elsewhere it is that of the process since its start.
    """
    cost = Cost()
    with suppress(OSError):
        _CLEAR.write_text(_RESET_PEAK)
    started, cpu_started = time.perf_counter(), time.process_time()
    yield cost
    cost.seconds = time.perf_counter() - started
    cost.cpu_seconds = time.process_time() - cpu_started
    cost.peak_mb = _peak_mb()


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """What *function* returns, called in a fresh process that ends then.

    Its memory is its own, and no cache is warm.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *args).result()


def here(function: Callable[..., Any], *args: Any) -> Any:
    """What *function* returns, called in this process: quick, for tests."""
    return function(*args)


def _peak_mb() -> float:
    # Not getrusage where there is better: its peak outlives exec, so it may be the parent's.
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)

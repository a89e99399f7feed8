"""Thread pool for the steps of fitting a model; the first error cancels the rest."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")
Progress = Callable[[str, int, int], None]

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# No more than cores, as two on one hinder each other; a third would wait for the served forest.
THREADS = min(2, _CORES)


class _Cancelled(Exception):
    """Ends a task after another one has failed."""


class FitPool:
    """A thread for each of two cores; most of the time they run native code.

    The first error, of a task, of the block or of *report*, cancels the other tasks at their next
    report or check, and is raised again as the block ends. No thread outlives the block.
    """

    def __init__(self, report: Progress) -> None:
        self.size = THREADS
        self._report, self._reporting = report, threading.Lock()
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(self.size, "fit")
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._error = self._error or error
        self._pool.shutdown(cancel_futures=error is not None)
        if isinstance(error, _Cancelled) and self._error:
            raise self._error from None

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Start *task* when those submitted before have started and a thread is free."""

        def run() -> T:
            self.check_cancelled()
            try:
                return task()
            except BaseException as error:
                self._error = self._error or error
                raise

        return self._pool.submit(run)

    def check_cancelled(self) -> None:
        """End the task that calls this if another has failed."""
        if self._error:
            raise _Cancelled

    def report_progress(self, phase: str, done: int, total: int) -> None:
        """Report, one thread at a time, and `check_cancelled`."""
        with self._reporting:
            self.check_cancelled()
            self._report(phase, done, total)

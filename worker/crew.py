"""Two threads that share out the fitting of a model."""

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


class _Broken(Exception):
    """Ends work that nobody will use."""


class Crew:
    """A thread for each of two cores, for work that need not wait for other work.

    All of it is native code, most of the time. None outlives the block: the first error, be it of
    some work, of the block or of *tell*, ends all else at its next word and leaves the block.

    Attributes:
        size: how many threads there are.
    """

    def __init__(self, tell: Progress) -> None:
        self.size = THREADS
        self._tell, self._one_at_a_time = tell, threading.Lock()
        self._broken, self._errors = threading.Event(), list[BaseException]()

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(self.size, "fit")
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error:
            self._broken.set()
        self._pool.shutdown(cancel_futures=error is not None)
        if isinstance(error, _Broken):
            raise self._errors[0] from None

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Begin *work* as soon as what was submitted before has begun and a thread is free."""

        def done() -> T:
            try:
                self.tick()
                return work()
            except _Broken:
                raise
            except BaseException as error:
                self._errors.append(error)
                self._broken.set()
                raise

        return self._pool.submit(done)

    def tick(self) -> None:
        """End the work that calls it, if other work has failed."""
        if self._broken.is_set():
            raise _Broken

    def tell(self, phase: str, done: int, total: int) -> None:
        """Report, and `tick`."""
        with self._one_at_a_time:
            self.tick()
            self._tell(phase, done, total)

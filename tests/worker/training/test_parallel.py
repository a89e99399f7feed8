"""The thread pool of a fit: its first error ends everything."""

from __future__ import annotations

import threading

import pytest

from worker.training.parallel import FitPool


def ignore(*_: object) -> None:
    """Discard progress."""


def test_results_of_all_tasks_are_there_when_the_block_ends() -> None:
    with FitPool(ignore) as pool:
        futures = [pool.submit(lambda number=number: number * 2) for number in range(5)]

    assert [future.result() for future in futures] == [0, 2, 4, 6, 8]


def test_first_error_is_raised_and_cancels_tasks_at_their_next_check() -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise ZeroDivisionError

    def wait_and_check() -> None:
        failed.wait()
        while True:
            pool.check_cancelled()

    with pytest.raises(ZeroDivisionError), FitPool(ignore) as pool:  # noqa: PT012
        first, second = pool.submit(fail), pool.submit(wait_and_check)
        second.result()
        first.result()


def test_error_of_the_progress_report_ends_the_run() -> None:
    def refuse(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), FitPool(refuse) as pool:
        pool.report_progress("encode", 1, 2)

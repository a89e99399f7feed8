"""Waiting for a condition: the one place in which tests poll."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LOOK_EVERY_S = 0.05


def wait_until(condition: Callable[[], bool], what: str, within_s: float = 60) -> float:
    """Wait until *condition* holds; return the seconds that it took.

    The usual limit is generous, as it only ends a test that would never end: a smaller one is for
    a promise of time.

    Raises:
        AssertionError: it did not come to hold in time.
    """
    started = time.monotonic()
    pause = threading.Event()
    while not condition():
        if time.monotonic() - started > within_s:
            raise AssertionError(f"not within {within_s} s: {what}")
        pause.wait(LOOK_EVERY_S)
    return time.monotonic() - started


def wait_deliberately(seconds: float) -> None:
    """Let time go by where its length is what is tried: how long a server is away, for example."""
    threading.Event().wait(seconds)

"""The keeper has a worker end that holds too many files, so that another takes its place."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from shared.settings import Settings
from worker import keeper
from worker.keeper import Keeper


def test_a_worker_with_too_many_open_files_is_asked_to_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    few = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(keeper, "EVERY_S", 0.01)
    monkeypatch.setattr(keeper, "FILES_MAX", few + 50)
    stop = threading.Event()
    thread = threading.Thread(target=Keeper(settings).keep, args=(stop,))
    thread.start()
    try:
        assert not told.wait(0.3)
        held = [os.open("/dev/null", os.O_RDONLY) for _ in range(60)]
        assert told.wait(5)
        for one in held:
            os.close(one)
    finally:
        stop.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)

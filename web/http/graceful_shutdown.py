"""Graceful shutdown: send `Connection: close` before a web process stops.

A request that arrives on a keep-alive connection just as the server closes it is lost. So a process
that is about to stop says `Connection: close` in each answer for a while. Clients then open a new
connection, and the old ones have been idle when they are closed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from granian.server.common import AbstractServer

GRACE_S = 0.5
_SIGNAL = signal.SIGURG  # ignored by a process that has no handler for it yet
HEADER = ("connection", "close")
shutting_down = threading.Event()  # this process is about to stop


def install_signal_handler() -> None:
    """In a web process, note the signal that it is about to stop. Only in the main thread."""

    signal.signal(_SIGNAL, lambda *_: shutting_down.set())


def announce_close(server: AbstractServer[Any]) -> None:
    """In their parent, signal the web processes before they are stopped or replaced."""

    def stop_later() -> None:
        threading.Timer(GRACE_S, server.signal_handler_interrupt).start()

    def announce_before(then: Callable[[], None]) -> Callable[..., None]:
        def handle(*_: Any) -> None:
            for process in multiprocessing.active_children():
                with suppress(ProcessLookupError):
                    os.kill(process.pid or 0, _SIGNAL)
            then()

        return handle

    # A replaced process is stopped seconds later, once the new one serves.
    signal.signal(signal.SIGHUP, announce_before(server.signal_handler_reload))
    signal.signal(signal.SIGTERM, announce_before(stop_later))

"""Before a web process ends, its callers hear that they should connect anew.

A kept-alive connection that a server ends may meet a request on its way, which is lost then. So
each answer of a process that is about to end says `Connection: close`, for a while; nobody asks on
that connection again, and those that are left have been silent for as long.
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

WHILE_S = 0.5
_TOLD = signal.SIGURG  # unlike most, it ends nobody who is not listening for it yet
HEADER = ("connection", "close")


class GracefulShutdown:
    """Whether this process is about to end."""

    shutting_down = False


def install_signal_handler() -> None:
    """In a web process: hear when it is about to end. Only in the main thread."""

    def told(*_: Any) -> None:
        GracefulShutdown.shutting_down = True

    signal.signal(_TOLD, told)


def announce_close(server: AbstractServer[Any]) -> None:
    """In their parent: tell the web processes before they are ended, or replaced."""

    def after_a_while() -> None:
        threading.Timer(WHILE_S, server.signal_handler_interrupt).start()

    def told_first(then: Callable[[], None]) -> Callable[..., None]:
        def handle(*_: Any) -> None:
            for process in multiprocessing.active_children():
                with suppress(ProcessLookupError):
                    os.kill(process.pid or 0, _TOLD)
            then()

        return handle

    # By the time that a process is replaced, the new one has been there for seconds.
    signal.signal(signal.SIGHUP, told_first(server.signal_handler_reload))
    signal.signal(signal.SIGTERM, told_first(after_a_while))

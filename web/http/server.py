"""The HTTP server (Granian): its processes, threads and limits."""

from __future__ import annotations

from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.common import AbstractServer

from shared.settings import Settings
from web.http import graceful_shutdown

BACKLOG = 1024
# As in the proxy, for clients that do not come through it.
HEADERS_WAIT_MS = 10_000
HEADERS_MAX_BYTES = 64 * 1024


def server(target: str, settings: Settings) -> AbstractServer[Any]:
    """A server, not yet started, for the WSGI application *target*, given as `module:name`."""
    granian = Granian(
        target,
        address=settings.web_host,
        port=settings.web_port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADERS_WAIT_MS, max_buffer_size=HEADERS_MAX_BYTES
        ),
        workers=settings.web_processes,
        blocking_threads=settings.web_threads,
        backlog=BACKLOG,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        websockets=False,
        log_enabled=False,
    )
    granian.on_startup(lambda: graceful_shutdown.announce_close(granian))
    return granian

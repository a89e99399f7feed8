"""`python -m web`: the web server, on the address and port of the settings."""

from __future__ import annotations

import gc
import multiprocessing
import socket
import sys

from shared import log
from shared.errors import SettingsError
from shared.settings import process_settings
from web.http.server import server


def main() -> int:
    try:
        settings = process_settings()
        settings.require_auth()
        _check_port(settings.web_host, settings.web_port)
    except SettingsError as error:
        print(f"web: {error}", file=sys.stderr)
        return 1
    log.configure(settings.log_level)
    load_code()
    server("web.wsgi:app", settings).serve()
    return 0


def load_code() -> None:
    """Import the code of the web processes before they are forked, so that they share its memory.

    Code only: threads and connections do not survive a fork, nor does LightGBM's library.
    """
    if multiprocessing.get_start_method() == "fork":
        import web.app  # noqa: F401

        gc.collect()
        gc.freeze()  # a collection would write to every shared page (70 MB for two processes)


def _check_port(host: str, port: int) -> None:
    """Raise SettingsError if the port is in use, or the address is not one of this machine.

    Granian would share its port, and half of the requests, with another server on it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # So that connections of an earlier server in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            reason = error.strerror
            raise SettingsError(f"{host}:{port} cannot be listened on: {reason}") from error


if __name__ == "__main__":
    raise SystemExit(main())

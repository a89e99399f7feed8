"""`python -m web`: the web processes, on the address and port of the settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from granian import Granian
from granian.constants import Interfaces

from shared import log
from shared.errors import SettingsError
from shared.settings import Settings

BACKLOG = 1024


def main() -> int:
    try:
        settings = Settings.from_env(os.environ)
        settings.require_auth()
    except SettingsError as error:
        print(f"web: {error}", file=sys.stderr)
        return 1
    if shared_counters := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        Path(shared_counters).mkdir(parents=True, exist_ok=True)
    log.configure(settings.log_level)
    Granian(
        "web.wsgi:app",
        address=settings.web_host,
        port=settings.web_port,
        interface=Interfaces.WSGI,
        workers=settings.web_processes,
        blocking_threads=settings.web_threads,
        backlog=BACKLOG,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
        websockets=False,
        log_enabled=False,
    ).serve()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

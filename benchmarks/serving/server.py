"""Runs another WSGI application on the same HTTP server as ours.

    python -m benchmarks.serving.server TARGET

TARGET is `module:name`; address, port, processes and threads come from the settings, as for ours.
"""

from __future__ import annotations

import os
import sys

from shared.settings import Settings
from web.http.server import server

if __name__ == "__main__":
    server(sys.argv[1], Settings.from_env(os.environ)).serve()

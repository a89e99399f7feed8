"""The start of `python -m web`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

SEEN = """
import sys, threading
from pathlib import Path
from web.__main__ import load_code

load_code()
assert "web.app" in sys.modules and "shared.model.classifier" in sys.modules
assert "lib_lightgbm" not in Path("/proc/self/maps").read_text()
assert threading.active_count() == 1
assert not [fd for fd in Path("/proc/self/fd").iterdir() if "socket:" in str(fd.resolve())]
"""


def test_parent_process_has_the_code_but_no_model_thread_or_connection(environment):
    """A thread or LightGBM's library in it would let its forks hang."""
    seen = subprocess.run([sys.executable, "-c", SEEN], env=environment, capture_output=True)

    assert seen.returncode == 0, seen.stderr.decode()


def test_port_in_use_stops_the_start_with_one_line(environment):
    """Two servers on one port would take turns in answering."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        done = subprocess.run(
            [sys.executable, "-m", "web"],
            env={**environment, "PATH": os.defpath, "WEB_PORT": port},
            capture_output=True,
            text=True,
            timeout=20,
        )

    assert done.returncode == 1
    assert done.stderr == f"web: 127.0.0.1:{port} cannot be listened on: Address already in use\n"

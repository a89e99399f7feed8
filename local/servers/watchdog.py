"""A watchdog that runs one server for a test run and stops it when the run ends, even if killed.

A separate program with the standard library only, started by `local.servers.temporary`. It is the
server's parent, so it reaps it, and it checks its own parent, so that a killed test run leaves
neither server nor data. It holds a lock on the folder while it lives; if the lock is free, watchdog
and run are gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

CHECK_EVERY_S = 0.2


def main(order: Path) -> int:
    """Run the server of the file *order* until it ends, its owner is gone, or SIGTERM comes."""
    spec = json.loads(order.read_text())
    folder = order.parent
    owner = spec["owner"]
    lock = (folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    terminated = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            spec["argv"],
            env=spec["env"],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **spec["identity"],
        )
    (folder / "pid.new").write_text(str(server.pid))
    (folder / "pid.new").replace(folder / "pid")
    while server.poll() is None and os.getppid() == owner and not terminated.wait(CHECK_EVERY_S):
        pass
    if server.poll() is None:
        _stop(server, spec["stop_signal"], spec["grace_s"])
    if os.getppid() != owner:
        for path in spec["remove_if_orphaned"]:
            shutil.rmtree(path, ignore_errors=True)
    return 0


def _stop(server: subprocess.Popen[bytes], stop_signal: int, grace_s: float) -> None:
    server.send_signal(stop_signal)
    deadline = time.monotonic() + grace_s
    while server.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    if server.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))

"""What the parent of the web processes reads before it forks them."""

from __future__ import annotations

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


def test_the_parent_holds_the_code_and_neither_model_thread_nor_connection(environment):
    """A thread or LightGBM's library in it would let its forks hang."""
    seen = subprocess.run([sys.executable, "-c", SEEN], env=environment, capture_output=True)

    assert seen.returncode == 0, seen.stderr.decode()

"""The tasks that every worker loads at its start."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("pandas", "sklearn", "lightgbm")


def test_worker_starts_without_the_training_libraries():
    """They cost 30 MB and half a second; the jobs that need them import them."""
    code = f"import sys, worker.tasks; print([it for it in {HEAVY!r} if it in sys.modules])"

    printed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )

    assert printed.stdout.splitlines()[-1] == "[]"

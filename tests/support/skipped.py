"""What test runs skipped, and how to get what was missing: the last lines of `make test`.

Each run adds its reasons to the file that SKIPPED_FILE names, and `python -m tests.support.skipped`
prints them.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

VARIABLE = "SKIPPED_FILE"
COMMAND = "make test-programs"


def record(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> None:
    """Add the reason of each skipped test to the file; without a file, do nothing."""
    if not (file := os.environ.get(VARIABLE)):
        return
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with Path(file).open("a") as lines:
        for report in reports:
            if isinstance(report.longrepr, tuple):  # path, line, reason
                lines.write(" ".join(report.longrepr[2].removeprefix("Skipped: ").split()) + "\n")


def summary(reasons: Iterable[str], *, confined: bool) -> str:
    """Each reason once, with the number of tests, and the command that installs what is missing.

    Args:
        confined: whether bubblewrap could keep the containers' processes apart.
    """
    counts = Counter(reasons)
    lines = [f"  {count:4}  {reason}" for reason, count in sorted(counts.items())]
    if not confined:
        lines.append("        bubblewrap is not installed: containers' processes ran unconfined")
    if not lines:
        return "No test was skipped."
    return "\n".join(
        [f"{counts.total()} skipped:", *lines, f"To run them too: {COMMAND}, then make test"]
    )


def main() -> None:
    file = Path(os.environ[VARIABLE])
    reasons = file.read_text().splitlines() if file.exists() else []
    sys.stdout.write(summary(reasons, confined=shutil.which("bwrap") is not None) + "\n")


if __name__ == "__main__":
    main()

"""What `make test` says of skipped tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.support import skipped


def run(folder: Path, reason: str) -> None:
    """A pytest run of its own, with this project's hook, that skips one test."""
    (folder / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary\n")
    (folder / "test_it.py").write_text(
        f"import pytest\n\ndef test_it():\n    pytest.skip({reason!r})\n"
    )
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            folder,
            folder,
        ],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            skipped.VARIABLE: str(folder / "var" / "skipped.txt"),
        },
        check=True,
        capture_output=True,
    )


def test_reasons_of_all_runs_are_listed_once_with_the_command(tmp_path):
    """Two runs, three skipped tests, two reasons."""
    for reason in ("no browser", "no proxy", "no browser"):
        run(tmp_path, reason)

    words = skipped.summary(
        (tmp_path / "var" / "skipped.txt").read_text().splitlines(), confined=True
    )

    assert words.splitlines()[0] == "3 skipped:"
    assert "     2  no browser" in words.splitlines()
    assert "     1  no proxy" in words.splitlines()
    assert skipped.COMMAND in words.splitlines()[-1]


def test_nothing_is_listed_without_a_skipped_test():
    assert skipped.summary([], confined=True) == "No test was skipped."

"""`python -m worker.feature_build` builds what is pending and reports it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests import ROOT
from tests.support.factories import add_transactions

pytestmark = pytest.mark.usefixtures("clean")


def feature_build(
    environment: Mapping[str, str], *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """The command, after it ended."""
    return subprocess.run(
        [sys.executable, "-m", "worker.feature_build", *arguments],
        env={**environment, **variables, "PATH": "/usr/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("arguments", "report"),
    [(["--all"], "50 rows built"), (["--days", "0"], "Nothing to do: 0 rows are up to date")],
)
def test_the_command_reports_what_it_built(engine, environment, arguments, report):
    add_transactions(engine, 50)

    done = feature_build(environment, *arguments)

    assert done.returncode == 0, done.stderr
    assert report in done.stdout


def test_a_missing_database_is_one_line_on_standard_error(environment):
    done = feature_build(environment, "--all", DATABASE_URL="postgresql://x:y@127.0.0.1:1/z")

    assert done.returncode == 1
    assert done.stderr.startswith("feature_build: PostgreSQL does not answer")
    assert "Traceback" not in done.stderr

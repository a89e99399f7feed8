"""The command `python -m worker.ingest`: what it prints, how it ends, how much memory it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.worker.statements.test_importer import CANONICAL, rows, written
from worker.ingest import main

pytestmark = pytest.mark.usefixtures("clean")


def command(
    environment: dict[str, str], *arguments: str | Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATABASE_URL": environment["DATABASE_URL"]}
    env.pop("REDIS_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "worker.ingest", *map(str, arguments)],
        env=env, text=True, capture_output=True, timeout=60, check=False, input=stdin,
    )  # fmt: skip


def test_command_imports_and_prints_a_summary(environment: dict[str, str], tmp_path: Path) -> None:
    path = written(tmp_path, CANONICAL + "a-9,bad,1,USD,x,,\n")

    done = command(environment, path, "--user", "anna", "--map", "description=merchant")

    assert done.returncode == 0, done.stderr
    assert "4 rows read" in done.stdout
    assert "transactions: 3 inserted, 0 updated, 0 unchanged" in done.stdout
    assert "labels: 2 inserted, 0 updated, 0 unchanged, 0 kept" in done.stdout
    assert "line 5: date 'bad': expected yyyy-mm-dd" in done.stdout
    assert f"all of them: {tmp_path / 'bank.rejects.csv'}" in done.stdout
    assert "sign: spend-positive (2 of the first 3 amounts are positive" in done.stdout


def test_command_reads_standard_input(environment: dict[str, str]) -> None:
    done = command(environment, "-", stdin=CANONICAL)

    assert done.returncode == 0, done.stderr
    assert "standard input: 3 rows read" in done.stdout
    assert "3 inserted, 0 updated, 0 unchanged" in done.stdout


@pytest.mark.parametrize(
    ("content", "arguments", "code", "message"),
    [
        ("{}", [], 2, "ingest: bank.csv is a JSON document; a table needs"),
        (CANONICAL, ["--map", "label=Nope"], 2, "there is no such column in the header"),
        (CANONICAL, ["--encoding", "klingon"], 2, "there is no such encoding"),
        (CANONICAL, ["--encoding", "base64"], 2, "there is no such encoding"),
        (CANONICAL, ["--date-format", "soon"], 2, "such as dd/mm/yyyy"),
    ],
)
def test_command_refuses_in_one_line(
    environment: dict[str, str],
    tmp_path: Path,
    content: str,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    done = command(environment, written(tmp_path, content), *arguments)
    assert done.returncode == code
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://nobody:none@127.0.0.1:9/none", "PostgreSQL does not answer"),
        ("mysql://x", "DATABASE_URL must be a postgresql:// address"),
    ],
)
def test_command_without_database_fails_in_one_line(tmp_path: Path, url: str, message: str) -> None:
    done = command({"DATABASE_URL": url}, written(tmp_path, CANONICAL))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_failure_of_the_labels_leaves_no_transactions(engine: Engine, tmp_path: Path) -> None:
    assert str(engine.url.database) in os.environ["DATABASE_URL"]  # which `main` reads
    with engine.begin() as connection:
        connection.execute(
            text("ALTER TABLE transaction_labels ADD CONSTRAINT no CHECK (label <> 'Rent')")
        )
    try:
        assert main([str(written(tmp_path, CANONICAL))]) == 1
        assert rows(engine, "SELECT count(*) FROM transactions") == [(0,)]
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE transaction_labels DROP CONSTRAINT no"))


MEMORY = """
import os, resource, sys
from pathlib import Path
from shared.db.engine import make_engine
from shared.settings import Settings
from worker.statements.importer import import_csv

engine = make_engine(Settings.from_env({"REDIS_URL": "-", **os.environ}).database_url)
for name in sys.argv[1:]:
    report = import_csv(engine, Path(name))
    print(report.inserted, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_file(environment: dict[str, str], tmp_path: Path) -> None:
    """A file of 200,000 rows takes about as much memory as one of 40,000."""
    for name, count in (("small", 40_000), ("large", 200_000)):
        with (tmp_path / f"{name}.csv").open("w") as file:
            file.write("txn_id,date,amount,merchant,description\n")
            file.writelines(
                f"{name}-{n},2026-01-{n % 28 + 1:02},{n % 9000}.{n % 90 + 10},shop {n},text {n}\n"
                for n in range(count)
            )
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "small.csv", tmp_path / "large.csv"],
        env={**os.environ, **environment}, text=True, capture_output=True, check=True, timeout=120,
    )  # fmt: skip

    (small, before), (large, after) = (map(int, line.split()) for line in done.stdout.splitlines())

    assert (small, large) == (40_000, 200_000)
    assert after - before < 20_000, "kilobytes"

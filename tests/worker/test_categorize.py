"""The command `python -m worker.categorize`: what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.services import Services
from shared.statements.schema import ImportOptions
from tests.worker.statements.test_annotate import BANK, edit, stored
from worker.categorize import summary
from worker.statements.annotate import annotate_statement, default_path


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "bank.csv"
    path.write_text(BANK)
    return path


def command(environment: dict[str, str], *arguments: str | Path) -> tuple[int, str, str]:
    process = subprocess.run(
        [sys.executable, "-m", "worker.categorize", *map(str, arguments)],
        env={**os.environ, **environment}, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return process.returncode, process.stdout, process.stderr


def test_command_prints_the_summary(
    services: Services, environment: dict[str, str], bank: Path
) -> None:
    code, out, err = command(environment, bank, "--map", "label=Kind")
    assert (code, err) == (0, "")
    assert "7 rows, 6 of them new" in out
    assert "line 7: date 'bad'" in out
    assert f"The copy: {default_path(bank)}" in out


def test_command_refuses_in_one_line(
    services: Services, environment: dict[str, str], tmp_path: Path, bank: Path
) -> None:
    (tmp_path / "empty.csv").touch()
    for arguments in (
        [tmp_path / "none.csv"],
        [tmp_path / "empty.csv"],
        [bank, "--out", tmp_path],
        [bank, "--out", tmp_path / "no" / "such" / "folder.csv"],
    ):
        code, out, err = command(environment, *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert stored(services)[0] == []


def test_summary_names_corrections_that_are_lost(services: Services, bank: Path) -> None:
    options = ImportOptions(columns={"label": "Kind", "description": "Text"})
    annotate_statement(services, bank, options=options)
    edit(default_path(bank), 1, your_category="Gifts", ledger_ref="")

    text = summary(annotate_statement(services, bank, options=options))

    assert "ledger_ref is empty or changed" in text
    assert "1 not taken in all; that copy is kept: " in text
